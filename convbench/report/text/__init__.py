"""Text for terminals, files and CI: pure, from results to text."""
