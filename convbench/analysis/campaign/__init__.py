"""What the runs of a campaign say together: which machine is best for which layer, and where orderings turn round."""
