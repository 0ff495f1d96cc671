"""What becomes of runs, in tables of a database."""
