"""The execution journal: a side effect is started, then finished with its result, so that nobody runs it a second time.

At most once is promised, not exactly once: what was started and never finished (its process died) has an unknown
outcome, and a person must say what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message

MAX_RESULT = 65_536
"""Characters of a result that are kept."""

JournalAct = Literal["start", "finish", "fail", "look", "refuse"]
JournalState = Literal["started", "unknown", "finished", "failed", "absent", "refused"]


class JournalRequest(Message):
    """One line of the journal.

    ``start`` before the side effect, ``finish`` (or ``fail``) with its result (or error) after it, ``look`` to read.
    ``refuse`` counts a refusal of the same call in this session instead.

    Attributes:
        key: names the call: the hash of tenant, thread, AI message, call id and arguments.
        runner: names this attempt; only who started an entry ends it.
        thread: the conversation that cannot go on, because of this: with ``fail`` an event ``thread_failed`` tells
            operators, and quotes the beginning of `result`.
    """

    agent_id: Identifier
    act: JournalAct
    key: Identifier
    runner: Identifier | None = None
    result: Annotated[str, Field(max_length=MAX_RESULT)] | None = None
    thread: Annotated[str, Field(min_length=1, max_length=256)] | None = None


@dataclass(slots=True)
class JournalEntry:
    """What the journal says of a call.

    `state`: ``started`` (by this very attempt: go on), ``unknown`` (started before, never finished: ask a person),
    ``finished`` or ``failed`` with the stored `result` (replay it), ``absent``; ``refused`` after ``refuse``.
    `times`: how often this call was refused in this session, counting this one.
    """

    key: str
    state: JournalState
    at: datetime
    result: str | None = None
    times: int = 0
