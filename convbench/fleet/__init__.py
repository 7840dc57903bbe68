"""The FLEET room: shards of a campaign on many hosts, each an ordinary run there. One module for each engine."""
