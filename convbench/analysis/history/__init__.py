"""A case's floor over runs, and its steps."""
