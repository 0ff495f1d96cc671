"""What MoEngage has of each user, found for the rows of a run."""
