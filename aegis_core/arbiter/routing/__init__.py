"""Evidence for the choice of a model: recorded outcomes, what is learned from them, and how good a router is.

To predict (`features`, `gain`, `pairs`, `outcomes`) takes the standard library and pydantic alone. To fit, measure and
draw (`ridge`, `fitting`, `curve`, `evaluation`, `picture`) takes the extra ``routing``: NumPy, SciPy and Matplotlib.
"""
