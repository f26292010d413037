"""What the events of workflows hold. Part of what `event_bodies` lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aegis_core.store.packing import Named
from aegis_core.store.records import Text


class WorkflowEnded(NamedTuple):
    """A workflow ended: what was planned, what its steps used and what was asked beside them, in nano-dollars, with
    what is still `open`."""

    at: int
    workflow: str
    name: str
    agent: str
    how: str
    budget: int
    used: int
    beside: int
    uses: int
    asked: int
    open: int
    members: int
    author: Text


class WorkflowInvited(NamedTuple):
    """A join token was made."""

    at: int
    workflow: str
    name: str
    agent: str
    uses: int
    expires: int
    agents: Text
    author: str


class WorkflowNarrowed(NamedTuple):
    """A plan was made smaller; `lasts` in ms from its approval on."""

    at: int
    workflow: str
    name: str
    agent: str
    budget: int
    lasts: int
    author: str


FLOW_BODIES: Mapping[str, type[Named]] = {
    "workflow_ended": WorkflowEnded,
    "workflow_invited": WorkflowInvited,
    "workflow_narrowed": WorkflowNarrowed,
}
"""By the kind of the event."""
