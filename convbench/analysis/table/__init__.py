"""A run as a table: columns, metrics, the frame."""
