"""The Data API: bulk import."""
