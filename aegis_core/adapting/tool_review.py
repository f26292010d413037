"""Tool calls in frameworks that pause and run again: judged once, asked about together, done at most once."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis_core.adapting.bridge import both_ways
from aegis_core.adapting.calls import ToolCall
from aegis_core.adapting.clearance import DECISIONS, UNKNOWN, Clearance, decisions_in, described
from aegis_core.adapting.denials import CHANGED, denied
from aegis_core.adapting.tool_run import PAUSED, ToolRun
from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.canonical import canonical_json
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.journal import JournalEntry
from aegis_core.protocol.messages import Verdict

if TYPE_CHECKING:
    from aegis_core.adapting.call_governor import CallGovernor


MOST_ATTEMPTS = 64
"""Times that one call is asked for again after it was given back or expired unused."""

_EDITED = "aegis:edited:"
"""How the journal remembers that a person replaced a call's arguments."""
_KNOWN_FAILURES = 4_096


class ToolReview:
    """Clears tool calls for one adapter. Safe from many threads and loops, as its `CallGovernor` is.

    Args:
        calls: the adapter's governor.
        patience: seconds that `wait` waits for a person.
    """

    def __init__(self, calls: CallGovernor, patience: float = 600) -> None:
        self.calls, self.bridge, self._patience = calls, calls.bridge, patience
        self._failed: OrderedDict[str, None] = OrderedDict()

    def begin(self, clearance: Clearance, *, journal: bool) -> ToolRun | Clearance:
        """Start a granted call, once its lock is held. With `journal` it is written down first.

        Answers a clearance instead where its lock was not free, or it was started before: then it is not begun.
        """
        return self.bridge.run(lambda: self._begin(clearance, journal=journal))

    async def abegin(self, clearance: Clearance, *, journal: bool) -> ToolRun | Clearance:
        """As `begin`. A caller that is cancelled before it hears of its work leaves none begun."""
        begun: list[ToolRun] = []

        async def work() -> ToolRun | Clearance:
            found = await self._begin(clearance, journal=journal)
            if isinstance(found, ToolRun):
                begun.append(found)
            return found

        async def undo() -> None:
            for each in begun:
                await each.undo()

        try:
            return await self.bridge.await_(work)
        except asyncio.CancelledError:
            self.bridge.post(undo)  # in the loop of the bridge, after the cancellation or the end of the work
            raise

    async def _open(self, calls: Iterable[ToolCall], *, durable: bool) -> ToolBatch:
        """Judge the calls of one answer of a model. `durable`: they may be run again, so the journal is read."""
        batch = ToolBatch(self, [], durable=durable)
        try:
            for call in calls:
                batch.clearances.append(await self.clear(call, durable=durable))
            await batch.give_back()
        except BaseException:
            batch.drop(approved=False)
            raise
        return batch

    open, aopen = both_ways(_open)

    async def clear(self, call: ToolCall, *, durable: bool) -> Clearance:
        """Judge one call, in the bridge's loop. A grant that was given back or ran out unused is asked for again."""
        for _ in range(MOST_ATTEMPTS):
            verdict = await self.calls.verdict_of(call)
            withdrawn = verdict.code == "withdrawn"
            if verdict.status == "PENDING":
                return Clearance(call, "asked", verdict)
            if call.call_id is None or (verdict.status == "REJECTED" and not withdrawn):
                return await self._as_approved(call, verdict)
            entry = None if verdict.granted and not durable else await self.calls.journal("look", call)
            if entry is not None and (edited := _edited(entry)) is not None:
                call = replace(call, arguments=edited, attempt=0)
            elif entry is not None and self._is_known(entry, call):
                return _known(call, verdict, entry)
            elif verdict.granted or withdrawn:
                return await self._as_approved(call, verdict)
            else:
                call = replace(call, attempt=call.attempt + 1)
        return Clearance(call, "refused", verdict)  # pyright: ignore[reportPossiblyUnboundVariable]

    def _is_known(self, entry: JournalEntry, call: ToolCall) -> bool:
        """Whether the journal answers for the call: not where it paused, or failed in this very process."""
        if entry.state == "failed":
            return call.identity(self.calls.tenant) not in self._failed
        return entry.state == "unknown" or (entry.state == "finished" and entry.result != PAUSED)

    async def _as_approved(self, call: ToolCall, verdict: Verdict) -> Clearance:
        """Refused, or granted, unless a person approved another call than this one."""
        if not verdict.granted:
            return Clearance(call, "refused", verdict)
        if self.calls.is_approved(call, verdict):
            return Clearance(call, "granted", verdict)
        await self.bridge.agent.release(verdict.grant_id or "")
        other = replace(verdict, status="REJECTED", code="not_approved", reason=CHANGED)
        return Clearance(call, "refused", other)

    async def decide(self, clearance: Clearance, decision: Mapping[str, Any], *, durable: bool) -> Clearance:
        """Apply what a person said of an open call."""
        call, verdict, said = clearance.call, clearance.verdict, str(decision.get("message") or "")
        kind = decision.get("type")
        if clearance.state == "unknown" and verdict.granted and kind in {"approve", "edit"}:
            await self.bridge.agent.release(verdict.grant_id or "")  # a person says that it was not done
        if clearance.state == "unknown" and verdict.granted and kind == "respond":
            await self.bridge.agent.settle(verdict.grant_id or "", cost_usd=verdict.reserved_usd)
        if kind == "edit":
            arguments = decision["edited_action"]["args"]
            if hash_arguments(arguments) != call.arguments_hash:
                return await self._edit(clearance, arguments, durable)
            kind = "approve"
        if kind == "approve":
            again = replace(call, attempt=call.attempt + 1) if clearance.state == "unknown" else call
            return await self.clear(again, durable=durable)
        if clearance.state == "asked":
            await self.bridge.agent.release(verdict.grant_id or "", by="person")
        if kind == "respond":
            return Clearance(call, "done", verdict, said)
        code = "outcome_unknown" if clearance.state == "unknown" else "declined"
        reason = f"A person declined it: {said}" if said else _REASONS[code]
        return Clearance(call, "refused", replace(verdict, status="REJECTED", code=code, reason=reason))

    async def _edit(self, clearance: Clearance, arguments: object, durable: bool) -> Clearance:
        """Judge the edited call; the journal remembers it before the question about the first one is taken back."""
        call = clearance.call
        if clearance.state == "asked":
            runner = self.calls.new_runner()
            await self.calls.journal("start", call, runner)
            await self.calls.journal("finish", call, runner, _EDITED + canonical_json(arguments))
            await self.bridge.agent.release(clearance.verdict.grant_id or "", by="person")
        return await self.clear(replace(call, arguments=arguments, attempt=0), durable=durable)

    async def _wait(self, clearance: Clearance) -> Clearance:
        """Wait for the person here, where nothing can pause: afterwards it is granted or refused."""
        if clearance.state != "asked":
            return clearance
        verdict = await self.calls.verdict_of(clearance.call, self._patience)
        if verdict.granted:
            return await self._as_approved(clearance.call, verdict)
        if verdict.status == "PENDING" and verdict.grant_id:
            await self.bridge.agent.release(verdict.grant_id, by="caller")
        return Clearance(clearance.call, "refused", verdict)

    wait, await_ = both_ways(_wait)

    async def _refusal(self, clearance: Clearance) -> AegisDenied:
        """The error for a call that is refused, or still open; counts it."""
        verdict = clearance.verdict
        if clearance.state == "unknown":
            verdict = replace(verdict, status="REJECTED", code="outcome_unknown", reason=_REASONS["outcome_unknown"])
        return denied(clearance.call, verdict, await self.calls.count_refusal(clearance.call))

    refusal, arefusal = both_ways(_refusal)

    async def _begin(self, clearance: Clearance, *, journal: bool) -> ToolRun | Clearance:
        call = clearance.call
        held = self.calls.held(call, clearance.verdict)
        if (refused := await self.calls.lock(held)) is not None:
            return Clearance(call, "refused", refused)
        if not journal or call.call_id is None:
            return ToolRun(self.calls, held, None, self.remember_failure)
        runner = self.calls.new_runner()
        try:
            entry = await self.calls.journal("start", call, runner)
        except BaseException:
            await held.unlock()
            raise
        if entry.state == "started":
            return ToolRun(self.calls, held, runner, self.remember_failure)
        await held.unlock()
        if entry.state != "unknown":
            await held.asettle()  # it was done; its process ended before it could say so
        return _known(call, clearance.verdict, entry)

    def remember_failure(self, call: ToolCall) -> None:
        """Let this process try again what failed in it; another one replays the error."""
        if identity := call.identity(self.calls.tenant):
            self._failed[identity] = None
            if len(self._failed) > _KNOWN_FAILURES:
                self._failed.popitem(last=False)


class ToolBatch:
    """The calls of one answer of a model, in its order, and what a person must say of them.

    ::

        batch = review.open(calls, durable=True)
        while (question := batch.question) is not None:
            batch.answer(interrupt(question))
    """

    def __init__(self, review: ToolReview, clearances: list[Clearance], *, durable: bool) -> None:
        self.clearances = clearances
        self.bridge = review.bridge
        self._review, self._durable = review, durable

    @property
    def question(self) -> dict[str, object] | None:
        """What to interrupt with; None: nothing is open. Holds all that were asked, also those decided meanwhile."""
        if not any(each.is_open for each in self.clearances):
            return None
        asked = [each for each in self.clearances if each.was_asked]
        return {
            "action_requests": [
                {"name": each.call.tool, "args": each.call.arguments or {}, "description": described(each)}
                for each in asked
            ],
            "review_configs": [{"action_name": each.call.tool, "allowed_decisions": DECISIONS} for each in asked],
            "aegis": [
                {"approval_id": each.verdict.escalation_id, "state": each.state, "request_id": each.verdict.request_id}
                for each in asked
            ],
        }

    async def _answer(self, value: object) -> None:
        """Apply a ``HITLResponse``. One of another form changes nothing, so that it poisons no thread."""
        places = [place for place, each in enumerate(self.clearances) if each.was_asked]
        decisions = decisions_in(value, len(places))
        for place, decision in zip(places, decisions or (), strict=decisions is not None):
            if self.clearances[place].is_open:
                self.clearances[place] = await self._review.decide(
                    self.clearances[place], decision, durable=self._durable
                )
        await self.give_back()

    answer, aanswer = both_ways(_answer)

    def drop(self, *, approved: bool) -> None:
        """Give back what granted calls hold, because another one ends the run; `approved`: those of a person, too."""
        for each in self.clearances:
            if each.state == "granted" and (approved or not each.was_asked):
                self._review.calls.held(each.call, each.verdict).abandon(consumed=False)

    async def give_back(self) -> None:
        """Hold no money for the others while a person is awaited; ask for it again when nobody is."""
        waiting = any(each.is_open for each in self.clearances)
        for place, each in enumerate(self.clearances):
            if waiting and each.state == "granted" and not each.was_asked:
                await self.bridge.agent.release(each.verdict.grant_id or "")
                each.verdict.state = "released"
            elif not waiting and each.verdict.state == "released" and each.state == "granted":
                self.clearances[place] = await self._review.clear(each.call, durable=self._durable)


_REASONS = {"declined": "A person declined it", "outcome_unknown": UNKNOWN}


def _edited(entry: JournalEntry) -> object:
    if entry.state == "finished" and entry.result and entry.result.startswith(_EDITED):
        return json.loads(entry.result.removeprefix(_EDITED))
    return None


def _known(call: ToolCall, verdict: Verdict, entry: JournalEntry) -> Clearance:
    if entry.state == "unknown":
        return Clearance(call, "unknown", verdict)
    try:
        result = json.loads(entry.result or '""')
    except ValueError:
        result = entry.result
    return Clearance(call, "done", verdict, result, failed=entry.state == "failed")
