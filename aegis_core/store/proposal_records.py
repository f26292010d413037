"""What is stored of proposals, and of the change that is tried. Part of what `schema` declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aegis_core.store.kinds import Kind

PROPOSALS: Mapping[str, Any] = {
    "MOST_PROPOSALS": 200,  # of a tenant; beyond that the one that ended longest ago makes room
}
"""What scripts may name besides, as in `schema.CONSTANTS`."""


class Canary(NamedTuple):
    """A change that some sessions have: those whose hash with the name of the `proposal` is `below` so much of 2^32.

    Attributes:
        version: of the changed policy.
        parent: the version that it changes. Once another one is in force, nobody has the change any more.
    """

    proposal: str
    version: int
    parent: int
    below: int


class StoredProposal(NamedTuple):
    """A proposal. Texts in JSON are written and read by the engine alone. Times in ms.

    Attributes:
        revision: how often it was changed. A step is taken from one revision to the next.
        state: see `protocol.proposals`; `ended`: nothing will become of it any more.
        kind: ``substitute``, ``tighten``, ``loosen`` or ``eliminate``.
        change: the rules that are put into the policy, as JSON.
        parent, parent_digest, digest: the version that is changed, its digest, and that of the changed policy.
        evidence, test, tally: what speaks for it, what the replay said, how the canary stands; as JSON.
        until: when the evidence is too old.
        approval: the question to persons.
        version: of the changed policy, once it is tried.
        share: percent of the sessions that have it; `stage_at`: since when.
        begun_at: when it was first tried, and `cursor` the event after which that was.
        why: of its state, for people.
    """

    revision: int
    state: str
    ended: bool
    kind: str
    title: str
    finding: str
    change: str
    parent: int
    parent_digest: str
    digest: str
    evidence: str
    until: int
    made: int = 0
    changed: int = 0
    test: str = ""
    approval: str = ""
    version: int = 0
    share: int = 0
    stage_at: int = 0
    begun_at: int = 0
    cursor: str = "0"
    tally: str = ""
    why: str = ""
    by: str = ""


PROPOSAL_STATES = ("tested", "asked", "canary", "kept", "rolled_back", "declined")
PROPOSAL_KINDS = tuple(f"kaizen_{state}" for state in PROPOSAL_STATES)
"""The events that say which state a proposal came into."""


class KaizenMoved(NamedTuple):
    """The body of an event: a proposal came into a state.

    `log_e` is the logarithm of the highest e-value of harm, over `n` sessions.
    """

    at: int
    proposal: str
    state: str
    parent: int
    digest: str
    share: int
    log_e: float
    n: int
    why: str
    author: str


STORED = (Kind("CANARY", Canary), Kind("PROPOSAL", StoredProposal))
"""Those that `schema` lists."""
