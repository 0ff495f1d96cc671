"""Notifiers for the callbacks of tasks and Dags."""
