"""Where rows and elements come from: queries and files."""
