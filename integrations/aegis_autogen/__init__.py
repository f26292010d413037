"""The Aegis adapter for autogen. It has no code yet."""
