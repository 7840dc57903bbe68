"""The workflow that `convbench ci init` writes."""
