"""Sui: transactions by their bytes, what they cost, what they would do, and the nodes that say so."""
