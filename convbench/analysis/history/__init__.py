"""A case's time over runs, and its steps."""
