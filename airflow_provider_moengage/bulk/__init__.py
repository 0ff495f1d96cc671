"""The delivery pipeline: elements are checked, encoded, packed, paced and posted. No Airflow in it."""
