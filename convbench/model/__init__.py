"""The frozen data that all rooms share, and the mathematics of a convolution; standard library only."""
