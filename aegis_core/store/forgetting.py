"""Removes what an agent wrote, and nothing else: no event, no amount, and no word of an operator."""

from __future__ import annotations

from typing import Any

from aegis_core.store import layout
from aegis_core.store import operator_verbs as acts
from aegis_core.store.event_bodies import BODIES, RefusalsRepeated, ThreadFailed
from aegis_core.store.kaizen import KaizenStore
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.records import AlikeRefusals, Record
from aegis_core.store.streams import Entry

_AT_ONCE = 500


async def forget(ledger: Ledger, agent: str, author: str) -> int:
    """Remove an agent's words, and note that; answers how many texts were removed.

    They lie in one key; besides, questions show them to those who answer, the journal keeps what calls answered, and
    Kaizen's reports name tools. A report that is being made of these words is not stored, but made again.
    Who must still decide then sees what the rules and budgets say of it. The events stay. Only those that a version
    wrote which kept words within its events are removed themselves, where they hold some.

    Raises:
        NotFoundError: the agent never shook hands.
    """
    await ledger.read_session(agent, None)  # it must exist
    held = await _forget_questions(ledger, agent) + await _remove_old_events(ledger, agent)
    removed = int((await ledger.call(ledger.store.scripts.forget, acts.Forget(agent, author, held)))[1])
    await KaizenStore(ledger).forget(agent)
    return removed


async def _forget_questions(ledger: Ledger, agent: str) -> int:
    held = 0
    for listing in ("ap", "ah"):  # one that ends meanwhile is looked at twice
        found = await ledger.store.command("ZRANGE", layout.key(ledger.tenant, listing), 0, -1)
        ids = [each.decode() for each in found]
        for at in range(0, len(ids), _AT_ONCE):
            order = acts.ForgetQuestions(agent, ids[at : at + _AT_ONCE])
            held += int((await ledger.call(ledger.store.scripts.forget_questions, order))[1])
    return held


async def _remove_old_events(ledger: Ledger, agent: str) -> int:
    stream, removed, last = layout.key(ledger.tenant, "e"), 0, "-"
    while entries := await ledger.store.command("XRANGE", stream, last, "+", "COUNT", 1_000):
        mine = [entry_id for entry_id, fields in entries if _holds_words_of(agent, (entry_id, dict(fields)))]
        if mine:
            removed += int(await ledger.store.command("XDEL", stream, *mine))
        last = "(" + entries[-1][0].decode()
    return removed


def _holds_words_of(agent: str, entry: Entry) -> bool:
    """Whether an event is of a version that kept an agent's words within it, and holds some of this one's."""
    _, fields = entry
    of = BODIES.get(fields[b"k"].decode())
    if agent.encode() not in fields[b"b"] or of not in {Record, RefusalsRepeated, ThreadFailed}:
        return False
    body: Any = decode(of, unpack(fields[b"b"]))
    if body.agent != agent:
        return False
    if isinstance(body, Record):
        question = body.question
        return b"intent" in fields.get(b"q", b"") or (question is not None and "intent" in question.trace)
    if isinstance(body, ThreadFailed):
        return bool(body.thread or body.problem)
    alike = decode(AlikeRefusals, body.refused)
    return alike.said is False and any((alike.tool, alike.target, alike.capability))
