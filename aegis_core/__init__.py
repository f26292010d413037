"""Aegis: the governor between human intent and what AI agents do."""
