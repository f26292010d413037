"""Evidence for the choice of a model: recorded outcomes, what is learned from them, and how good a router is.

Only the standard library is needed, to fit as well as to predict.
"""
