"""Finds the convolutions that a model computes, without its weights where that works. It answers plain JSON."""
