"""The nouns that all rooms share: frozen data and the mathematics of a convolution, standard library only."""
