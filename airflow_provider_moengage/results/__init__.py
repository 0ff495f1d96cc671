"""What becomes of runs: in tables of a database, and as an XCom of a run that failed."""
