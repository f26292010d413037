"""What the events of Kaizen hold; see `event_bodies`."""

from __future__ import annotations

from typing import Literal, NamedTuple


class KaizenFound(NamedTuple):
    """Waste of a closed day: nano-dollars, their interval (False: unknown), and in how many places.

    `title` is what it is called, `proposed` the first change that is proposed because of it.
    """

    at: int
    finding: str
    detector: str
    currency: str
    nanos: int
    low: int | Literal[False]
    high: int | Literal[False]
    places: int
    title: str = ""
    proposed: str = ""


class KaizenProposed(NamedTuple):
    """A change that a finding suggests."""

    at: int
    proposal: str
    finding: str
    verb: str
    title: str
