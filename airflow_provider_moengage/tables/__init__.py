"""Tables of any database that rows are written to."""
