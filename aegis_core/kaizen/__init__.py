"""Finds waste in what already happened, in dollars and with its uncertainty. Nothing of it on the path of a decision.

`facts` is what a day held, `folding` makes it of events, `detectors` look for one kind of waste each, `scamper` turns
what they find into proposals, `judging` runs them and counts each request once, `days` closes days through `ports`.
"""
