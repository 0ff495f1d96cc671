"""Users whose rows have left the query: who they are, whether they may be removed, and their removal."""
