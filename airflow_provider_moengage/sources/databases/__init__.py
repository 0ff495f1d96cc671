"""One module per kind of database that needs something of its own."""
