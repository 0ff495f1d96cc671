"""MoEngage's HTTP API: hosts, requests, answers and what they mean. Nothing here knows of Airflow."""
