"""The one door between Airflow and MoEngage's API."""
