"""Statistics of campaigns as rows: the days of a run, the rows of a day, and where they go."""
