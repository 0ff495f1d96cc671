"""Airflow tasks that talk to MoEngage."""
