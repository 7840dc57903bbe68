"""The process room: where workers run."""
