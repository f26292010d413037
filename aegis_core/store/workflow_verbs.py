"""What the scripts of workflows are called with, by name: as in `verbs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aegis_core.store.arguments import Given, TermsRow
from aegis_core.store.flow_records import JoinToken, Workflow


class OpenWorkflow(NamedTuple):
    """Ask people about a plan. `terms`: those of each rule that would ask about a step; `span` and `remind` (ms): for
    how long, and how long before its end again. `trace`: what they are shown; `content`: by what it is known again."""

    id: str
    agent: str
    sid: Given
    token: Given
    request_id: str
    digest: str
    policy: int
    profiles: int
    flow: Workflow
    terms: Sequence[TermsRow]
    span: int | None
    remind: int
    trace: bytes
    content: str


class InviteWorkflow(NamedTuple):
    """Put a join token into a workflow; `join` says in `expires` for how long. Without an `agent` an operator does."""

    id: str
    agent: Given
    sid: Given
    token: Given
    join: JoinToken
    author: str


class EndWorkflow(NamedTuple):
    """End a workflow for all its members, as its opener `agent`, or as an operator."""

    id: str
    agent: Given
    sid: Given
    token: Given
    author: str


class NarrowWorkflow(NamedTuple):
    """Make a plan smaller. `seen`: the content that was looked at; `steps`: the times (False: none) and amount of each
    step; `lasts`: ms from its approval on."""

    id: str
    seen: str
    budget: int
    lasts: int
    steps: Sequence[Any]
    trace: bytes
    content: str
    author: str


class ReadWorkflows(NamedTuple):
    """One workflow with its members, or at most `most` that were opened `before` a time."""

    one: Given
    before: Given
    most: int
