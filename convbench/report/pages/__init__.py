"""HTML pages. Pure: from results to one file that works offline."""
