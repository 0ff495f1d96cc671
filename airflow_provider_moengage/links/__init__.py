"""Links from Airflow's pages to MoEngage."""
