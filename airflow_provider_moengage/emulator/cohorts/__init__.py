"""Segments and their members, which other tools set: cohort sync."""
