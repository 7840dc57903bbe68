"""What changed between two runs or two environments."""
