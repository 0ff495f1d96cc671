"""From other systems to MoEngage."""
