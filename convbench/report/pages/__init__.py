"""HTML pages: pure, from results to one file that works offline."""
