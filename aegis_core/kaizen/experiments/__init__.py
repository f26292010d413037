"""Shadow experiments: whether a cheaper model does a type of task as well, shown on pairs of answers to one request.

`betting` is the test, `deciding` what follows from it for all experiments together, `course` how it grew, `judges`
score answers, and `shadow` asks the candidate after the answer and off its path.
"""
