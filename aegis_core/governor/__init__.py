"""The governor on Redis: what it does with each message, and what it answers."""
