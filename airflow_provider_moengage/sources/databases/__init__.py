"""One module per database that needs special handling."""
