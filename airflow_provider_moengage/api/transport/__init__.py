"""How a request travels: its deadline, the bounds on a response, and what a failure means."""
