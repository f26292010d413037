"""What watches events after they were written, and nothing of which a decision waits for.

`sums` says what an event adds to which hour, `rollups` is the one consumer that adds it up, `retention` removes what is
too old. `sender` posts events to one receiver in their order, as `cloud_events` spells them; `posting`, `receivers` and
`targets` are how anything is posted, signed and where to. Each is driven through the ports in `ports`, by one process
at a time, and can die and come back without loss. `export` writes events into a file, and keeps its place beside it.
"""
