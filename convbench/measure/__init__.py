"""Pure functions: the order of blocks, when to stop, and figures computed from blocks."""
