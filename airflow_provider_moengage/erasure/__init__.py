"""Erasing the users of a query: who they are, the requests, and the ledger that proves them."""
