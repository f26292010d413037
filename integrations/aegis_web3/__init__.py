"""Aegis for web3.py: what a program sends with it is judged, reserved, sent and settled first.

``w3.middleware_onion.inject(governed(agent), layer=0)``, after whatever signs, so that it sees signed bytes. It is a
convenience: another provider, or ``w3.provider.make_request``, goes past it. The RPC URL of the proxy is what holds.
"""

from aegis_web3.middleware import GovernedRequests, governed

__all__ = ["GovernedRequests", "governed"]
