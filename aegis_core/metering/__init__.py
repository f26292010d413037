"""Metering: what a call may cost at most, what it did cost, and what is charged when nobody can know."""
