"""The states of a record: the letter that is stored, and what it is called everywhere else."""

from __future__ import annotations

from typing import NamedTuple

from aegis_core.protocol.messages import GrantState, Status


class State(NamedTuple):
    """One state of a record: its letter, its name in the scripts, its word, the status of a verdict in that state, and
    how a question ends by it."""

    letter: str
    name: str
    word: GrantState
    status: Status
    answer: str | None = None


STATES = (
    State("G", "LIVE", "live", "GRANTED"),
    State("P", "PENDING", "pending", "PENDING"),
    State("R", "REJECTED", "rejected", "REJECTED"),
    State("S", "SETTLED", "settled", "GRANTED"),
    State("L", "RELEASED", "released", "GRANTED", "withdrawn"),
    State("X", "EXPIRED", "expired", "GRANTED"),
    State("T", "TIMED_OUT", "timed_out", "REJECTED", "timed_out"),
    State("D", "DECLINED", "declined", "REJECTED", "rejected"),
)
LIVE, PENDING, REJECTED, SETTLED, RELEASED, EXPIRED, TIMED_OUT, DECLINED = (state.letter for state in STATES)
OPEN = LIVE + PENDING
STATE_OF = {state.letter: state for state in STATES}
