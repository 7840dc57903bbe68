"""The verbs as functions without a terminal: they return values and raise errors."""
