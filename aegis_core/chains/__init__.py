"""Chains: what a transaction costs and does, read from its bytes and from the nodes that an operator names."""
