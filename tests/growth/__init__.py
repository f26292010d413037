"""Stored data grows: what an older version wrote is read, what a newer one wrote is carried unharmed."""
