"""The page "MoEngage" in Airflow's own UI (Airflow 3.1 and later): what syncs, imports and events have done.

It shows what Airflow has stored anyway: serialized Dags, XComs, states. It stores nothing itself.
"""
