"""The version of convbench: of the package, of stored runs and of pages."""

__version__ = "0.1.0"
