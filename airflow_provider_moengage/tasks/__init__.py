"""What Airflow tasks of this package remember and share."""
