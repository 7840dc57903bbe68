"""Frozen dataclasses that all packages share, and the formulas of a convolution; standard library only."""
