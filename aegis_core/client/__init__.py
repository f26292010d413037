"""What programs hold: the port to a governor, agents, grants, leases and blocks of locks, and their plain-code side."""
