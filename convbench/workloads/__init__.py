"""Captured networks and lists of shapes -> cases -> the text of a sweep. Pure."""
