"""The execution journal of one tenant on Redis."""

from __future__ import annotations

from typing import cast

from aegis_core.governor.budgets import at_ms
from aegis_core.governor.credentials import caller_of
from aegis_core.governor.requests import keyed_prompt
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.journal import JournalEntry, JournalRequest, JournalState
from aegis_core.protocol.masking import mask_text
from aegis_core.store.arguments import Said
from aegis_core.store.ledger import Ledger
from aegis_core.store.verbs import WriteJournal
from aegis_core.store.words import said_of

ENTRIES_KEPT = 2_000
"""Entries of one agent. Beyond them the oldest that ended makes room; those of unknown outcome stay."""

_TOLD = 500
"""Characters of an error that an event quotes."""

KEPT_MS = 7 * 86_400_000
"""How long an entry is remembered, in ms."""


class Journal:
    """The journal of one tenant on Redis."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def write(self, message: JournalRequest, *, token: str | None = None) -> JournalEntry:
        """Start, finish or look up one call, or count a refusal of it; every act may be sent again.

        Raises:
            NotFoundError: the agent is unknown, or what is to be finished was never started.
            ConflictError: another attempt started it (``not_runner``), or there is no room (``journal_full``).
        """
        pepper = self._ledger.store.pepper
        caller = caller_of(token, pepper)
        # A refused call may be named by the hash of its prompt, with which nobody shall try texts out.
        key = keyed_prompt(message.key, pepper) if message.act == "refuse" else message.key
        order = WriteJournal(
            act=message.act, agent=message.agent_id, sid=caller.session, token=caller.token,
            id=record_id(message.agent_id, key), runner=message.runner or "", result=message.result,
            most=ENTRIES_KEPT, keep=KEPT_MS, thread=message.thread, said=_said(message),
        )  # fmt: skip
        state, at, result, times = await self._ledger.journal(order)
        known = result if isinstance(result, str) else None
        return JournalEntry(message.key, cast("JournalState", state), at_ms(at), known, times)


def _said(message: JournalRequest) -> Said | tuple[()]:
    """Why a conversation cannot go on, in its agent's words."""
    if message.thread is None or message.act != "fail":
        return ()
    return said_of({"thread": message.thread, "problem": mask_text(message.result or "")[:_TOLD]})
