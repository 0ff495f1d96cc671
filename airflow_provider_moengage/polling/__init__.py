"""Waiting for file imports: which files are waited for, when that is over, and one poller for all. No Airflow."""
