"""Questions to people: typed calls of their scripts, as in `ledger`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from aegis_core.store import layout, operator_verbs, verbs
from aegis_core.store.batching import Looks
from aegis_core.store.channels import ChannelStore
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.records import Record, StoredEnvelope
from aegis_core.store.refusals import refusal


class ApprovalStore:
    """The scripts about approvals of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self.tenant, self.pepper = ledger.tenant, ledger.store.pepper
        self._words = Looks(self._decide)

    async def decide(self, order: verbs.Decide) -> Record | None:
        """One operator's word; None when its question is to be judged, as edited or as it is, by the policy in force.
        Words of one moment travel together, but for edits."""
        answer = (await self._decide([order]))[0] if order.edit else await self._words.at(order)
        if answer[0] not in {b"OK", b"STALE"}:
            raise refusal(answer[0].decode(), answer)
        return None if answer[0] == b"STALE" else decode(Record, unpack(answer[1]))

    def _decide(self, orders: list[verbs.Decide]) -> Coroutine[object, object, list[Any]]:
        return _second(self._ledger.begin(self._scripts.decide, verbs.DecideAll(orders)))

    async def shown(self, key: str) -> tuple[str, str]:
        """The arguments that a question shows, as asked and as edited; empty where none are kept."""
        names = (layout.key(self.tenant, f"q:{key}"), layout.key(self.tenant, f"q:{key}:e"))
        asked, edited = await self._ledger.store.command("MGET", *names)
        return (asked or b"").decode(), (edited or b"").decode()

    async def trace_refusal(self, channel: str, who: str, problem: str) -> None:
        """Put into the events that somebody's word did not count: the first time in an hour, for each problem."""
        await ChannelStore(self._ledger, channel).refuse(who, problem)

    async def list(
        self, *, ended: bool, how: str | None, agent: str | None, after: tuple[str, str] | None, most: int
    ) -> list[tuple[str, Record]]:
        """A page of questions: open ones by age, ended ones the newest first."""
        rows: list[tuple[str, Record]] = []
        cursor: Any = list(after) if after else None
        while cursor is not False:
            order = verbs.ListQuestions(ended, how, agent, cursor, most - len(rows))
            found, cursor = unpack((await self._ledger.call(self._scripts.list_questions, order))[1])
            rows += [(key, decode(Record, values)) for key, values in found]
        return rows

    async def put_envelope(self, made: StoredEnvelope | None, ending: str | None, author: str) -> StoredEnvelope:
        """Approve in advance, or end what was."""
        order = operator_verbs.PutEnvelope(made or False, ending, author, layout.ENVELOPES_KEPT)
        answer = await self._ledger.call(self._scripts.put_envelope, order)
        return decode(StoredEnvelope, unpack(answer[1]))

    async def standing(self) -> tuple[list[StoredEnvelope], dict[str, int]]:
        """The envelopes in force, and up to how many nano-dollars operators may approve."""
        answer = await self._ledger.call(self._scripts.read_envelopes, operator_verbs.ReadEnvelopes())
        rows, flat = unpack(answer[1])
        return [decode(StoredEnvelope, row) for row in rows], dict(zip(flat[::2], map(int, flat[1::2]), strict=True))

    async def set_ceiling(self, operator: str, nanos: int | None, author: str) -> None:
        """Up to how many nano-dollars an operator may approve; None lifts it."""
        order = operator_verbs.SetCeiling(operator, False if nanos is None else nanos, author)
        await self._ledger.call(self._scripts.set_ceiling, order)


async def _second(answer: Coroutine[object, object, Any]) -> Any:
    return (await answer)[1]
