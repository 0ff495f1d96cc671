"""What runs in the triggerer. Nothing here sends anything."""
