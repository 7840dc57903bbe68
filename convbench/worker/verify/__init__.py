"""Checks a layer's results: exactly on integers, approximately on the data that is timed, and again after timing."""
