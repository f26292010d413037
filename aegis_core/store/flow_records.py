"""The records of workflows, by name. Part of what `schema` declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.store.kinds import Kind
from aegis_core.store.records import Text

MOST_JOINS = 64
"""Join tokens of one workflow that are in force at once."""

FLOWS = {"MOST_JOINS": MOST_JOINS, "MOST_FLOWS": 10_000}
"""What scripts name of them; the last: of how many workflows a tenant keeps the ids."""

FlowState = Literal["pending", "live", "ended"]


class PlanRow(NamedTuple):
    """A row: a step of a plan. With `times`, `upto` bounds each use, else all of them together. `used` holds what is
    reserved, or was charged."""

    tool: Text
    resource: Text
    times: int | Literal[False]
    upto: int
    used: int
    uses: int


class JoinToken(NamedTuple):
    """What lets sessions join: the hash of a secret, how many more, until when (ms), and which agents (a pattern)."""

    hash: str
    uses: int
    expires: int
    agents: Text


class Workflow(NamedTuple):
    """A workflow. `session`: that of its opener; `capabilities` (``,a,b,``; False: all) and `priority` are what members
    may have at most. `span` is how long it may live from its approval on, `expires` until when it does. `steps` are
    `PlanRow` rows, `agents` the patterns of who may join, `most` how many. `used` is what the plan's steps hold or
    cost, `beside` the same of what people granted beside it; `waiting` is what they are still asked about, `asked` how
    often they were. `open`: how many of all are open.
    `votes` are those that approved it. `how` it ended: by ``time``, ``use``, ``opener``, ``operator``, or never begun:
    ``rejected``, ``timed_out``, ``withdrawn``. `content`: by what the plan is known again."""

    state: FlowState
    name: str
    opener: str
    session: str
    capabilities: Text
    priority: int
    budget: int
    span: int
    expires: int
    steps: list[Any]
    agents: Sequence[str]
    most: int
    joined: int
    used: int
    beside: int
    waiting: int
    asked: int
    open: int
    joins: list[list[Any]]
    votes: list[list[Any]]
    made: int
    approved: int
    ended: int
    how: Text
    by: Text
    content: str


STORED = (
    Kind("FLOW", Workflow, one={"steps": "PLAN"}, many={"joins": "JOIN", "votes": "O"}),
    Kind("PLAN", PlanRow, rows=True),
    Kind("JOIN", JoinToken),
)
"""Those that `schema` lists."""
