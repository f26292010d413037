"""A governor that answers over HTTP. Nothing here loads the Redis client."""

from aegis_core.remote.governor import RemoteGovernor

__all__ = ["RemoteGovernor"]
