"""What watches events after they were written, and nothing of which a decision waits for.

`sums` says what an event adds to which hour, `rollups` is the one consumer that adds it up, `retention` removes what is
too old. Each is driven through the ports in `ports`, by one process at a time, and can die and come back without loss.
"""
