"""The Aegis adapter for langchain. It has no code yet."""
