"""The findings on one run: sentences with the cases that show them."""
