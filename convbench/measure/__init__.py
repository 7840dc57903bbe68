"""Pure: which block comes next, when to stop, and what blocks amount to."""
