"""Sources of rows and elements: queries and files."""
