"""The verbs as functions: they return values and raise errors, and they do not print."""
