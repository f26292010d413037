"""The execution journal: a side effect is started, then finished with its result, so that nobody runs it a second time.

At most once is promised, not exactly once: what was started and never finished (its process died) has an unknown
outcome, and a person must say what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message

MAX_RESULT = 65_536
"""Bytes of a result that are kept, in UTF-8."""


def cut_result(text: str, most: int = MAX_RESULT) -> str:
    """The beginning of a text that is longer than so many bytes, without half a character at its end."""
    return text if len(text) <= most // 4 else text.encode()[:most].decode(errors="ignore")


def _kept(text: str) -> str:
    if len(text) > MAX_RESULT // 4 and len(text.encode()) > MAX_RESULT:
        raise ValueError(f"at most {MAX_RESULT:,} bytes are kept")
    return text


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
    result: Annotated[str, Field(max_length=MAX_RESULT), AfterValidator(_kept)] | None = None
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
