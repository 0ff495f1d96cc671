"""Tasks that wait for something to happen at MoEngage."""
