"""What plain code holds in place of anything that a grant is held by."""

from __future__ import annotations

from typing import Protocol, TypeVar

from aegis_core.client.portal import Bridged
from aegis_core.protocol.messages import Verdict


class _Granted(Protocol):
    @property
    def verdict(self) -> Verdict: ...

    @property
    def grant_id(self) -> str: ...


_Inner = TypeVar("_Inner", bound=_Granted)


class BridgedGrant(Bridged[_Inner]):
    """Base of those, with what says which grant it is."""

    @property
    def verdict(self) -> Verdict:
        """The verdict that granted it."""
        return self._inner.verdict

    @property
    def grant_id(self) -> str:
        """The id under which the money is held."""
        return self._inner.grant_id
