"""The choice of a model: a catalog of five tiers, exact prices, upper bounds of size, and the arbiter over them.

Nothing here does I/O, and nothing is imported before it is used: the price list alone takes a quarter of a second.
"""
