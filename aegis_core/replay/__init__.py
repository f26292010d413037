"""A recorded trace through a real governor, on a throw-away server and on the trace's own time.

`trace` reads what was recorded, `runner` puts it to the governor, `tally` counts what was answered, `report` says it.
Nothing here reaches a server with live budgets.
"""
