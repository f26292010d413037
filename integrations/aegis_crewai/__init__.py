"""The Aegis adapter for crewai. It has no code yet."""
