"""What is worth knowing of one run, as sentences with their evidence."""
