"""A kill harness: syncs in real Airflow task processes are killed repeatedly, and nothing may get lost.

`python -m chaos --help` describes what it does, and which parts of it are real.
"""
