"""Words for a network that findings and comparisons share: parts of a step, stages, kinds of layers. Pure."""
