"""The Aegis adapter for langgraph. It has no code yet."""
