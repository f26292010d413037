"""Questions to people: typed calls of their scripts, as in `ledger`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple

from aegis_core.store import layout
from aegis_core.store.deliveries import Deliveries
from aegis_core.store.ledger import Ledger
from aegis_core.store.looking import Looks
from aegis_core.store.packing import unpack
from aegis_core.store.records import Record
from aegis_core.store.refusals import refusal


class EnvelopeRow(NamedTuple):
    """What was approved in advance, in the order of `layout.ENVELOPE`. Money in nano-dollars, times in ms."""

    id: str
    agent: str | bool
    session: str | bool
    tool: str | bool
    rule: str | bool
    phrase: str | bool
    resource: str | bool
    limit: int
    used: int
    uses: int
    author: str
    made: int
    expires: int
    reason: str


class Questions:
    """The scripts about approvals of one tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts = ledger, ledger.store.scripts
        self.tenant = ledger.tenant
        self._words = Looks(self._decide)

    async def look(self, key: str, *, claims: bool = False) -> tuple[Record, int]:
        """The record of a question, and the server's time in ms. Its agent `claims` by looking what was approved."""
        return await self._ledger.look(key, claims=claims)

    async def decide(self, order: tuple[Any, ...]) -> Record | None:
        """One operator's word; None when an edit was judged by a policy that is no longer in force. Words of one moment
        travel together, but for edits."""
        *_, edit = order
        answer = (await self._decide([order]))[0] if edit else await self._words.at(order)
        if answer[0] not in {b"OK", b"STALE"}:
            raise refusal(answer[0].decode(), answer)
        return None if answer[0] == b"STALE" else Record._make(unpack(answer[1]))

    def _decide(self, orders: list[tuple[Any, ...]]) -> Coroutine[Any, Any, Any]:
        return _second(self._ledger.begin(self._scripts.decide, tuple(orders)))

    async def trace_refusal(self, channel: str, who: str, problem: str) -> None:
        """Put into the events that somebody's word did not count: the first time in an hour, for each problem."""
        await Deliveries(self._ledger, channel).refuse(who, problem)

    async def list(
        self, *, ended: bool, how: str | None, agent: str | None, after: tuple[str, str] | None, most: int
    ) -> list[tuple[str, Record]]:
        """A page of questions: open ones by age, ended ones the newest first."""
        rows: list[tuple[str, Record]] = []
        cursor: Any = list(after) if after else None
        while cursor is not False:
            order = (ended, how, agent, cursor, most - len(rows))
            found, cursor = unpack((await self._ledger.call(self._scripts.list_questions, order))[1])
            rows += [(key, Record._make(values)) for key, values in found]
        return rows

    async def put_envelope(self, made: tuple[Any, ...] | None, ending: str | None, author: str) -> EnvelopeRow:
        """Approve in advance, or end what was."""
        order = (list(made) if made else False, ending, author, layout.ENVELOPES_KEPT)
        answer = await self._ledger.call(self._scripts.put_envelope, order)
        return EnvelopeRow._make(unpack(answer[1]))

    async def standing(self) -> tuple[list[EnvelopeRow], dict[str, int]]:
        """The envelopes in force, and up to how many nano-dollars operators may approve."""
        rows, flat = unpack((await self._ledger.call(self._scripts.read_envelopes, ()))[1])
        return [EnvelopeRow._make(row) for row in rows], dict(zip(flat[::2], map(int, flat[1::2]), strict=True))

    async def set_ceiling(self, operator: str, nanos: int | None, author: str) -> None:
        """Up to how many nano-dollars an operator may approve; None lifts it."""
        await self._ledger.call(self._scripts.set_ceiling, (operator, False if nanos is None else nanos, author))


async def _second(answer: Coroutine[Any, Any, Any]) -> Any:
    return (await answer)[1]
