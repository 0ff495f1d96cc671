"""A kill harness: syncs in real Airflow task processes are killed again and again, and nothing may get lost.

`python -m chaos --help` says what it does, and what of it is real.
"""
