"""Aegis for solana-py: what a program sends with it is judged, reserved, sent and settled first.

``governed(AsyncClient(RPC), agent, chain="solana")`` is used as the client is. It is a convenience: another client goes
past it. The RPC URL of the proxy is what holds.
"""

from aegis_solana.client import GovernedClient, governed

__all__ = ["GovernedClient", "governed"]
