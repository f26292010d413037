"""Tool calls in frameworks that pause and run again: judged once, asked about together, done at most once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from aegis_core.adapting.calls import ToolCall
from aegis_core.adapting.denials import CHANGED, denied
from aegis_core.adapting.docket import UNKNOWN, Clearance, Docket
from aegis_core.adapting.reservation import Reservation
from aegis_core.canonical import canonical_json, storable
from aegis_core.errors import AegisDenied, AegisError
from aegis_core.journal_protocol import MAX_RESULT, JournalEntry
from aegis_core.protocol import Verdict

if TYPE_CHECKING:
    from aegis_core.adapting.governing import CallGovernor

_T = TypeVar("_T")
_log = logging.getLogger("aegis.adapting")

MOST_ATTEMPTS = 64
"""Times that one call is asked for anew after it was given back or expired unused."""

_EDITED = "aegis:edited:"
"""How the journal remembers that a person replaced a call's arguments."""
_PAUSED = "aegis:paused"
"""How it remembers that a tool paused the run and will be run again."""
_KNOWN_FAILURES = 4_096


class Desk:
    """Clears tool calls for one adapter. Safe from many threads and loops, as its `CallGovernor` is.

    Args:
        calls: the adapter's governor.
        patience: seconds that `wait` waits for a person.
    """

    def __init__(self, calls: CallGovernor, patience: float = 600) -> None:
        self.calls, self._patience = calls, patience
        self._failed: OrderedDict[str, None] = OrderedDict()

    def open(self, calls: Iterable[ToolCall], *, durable: bool) -> Docket:
        """Judge the calls of one answer of a model. `durable`: they may be run again, so the journal is read."""
        return self._run(lambda: self._open(calls, durable))

    async def aopen(self, calls: Iterable[ToolCall], *, durable: bool) -> Docket:
        """As `open`."""
        return await self._await(lambda: self._open(calls, durable))

    def wait(self, clearance: Clearance) -> Clearance:
        """Wait for the person here, where nothing can pause: afterwards it is granted or refused."""
        return self._run(lambda: self._wait(clearance))

    async def await_(self, clearance: Clearance) -> Clearance:
        """As `wait`."""
        return await self._await(lambda: self._wait(clearance))

    def refusal(self, clearance: Clearance) -> AegisDenied:
        """The error for a call that is refused, or still open; counts it."""
        return self._run(lambda: self._refusal(clearance))

    async def arefusal(self, clearance: Clearance) -> AegisDenied:
        """As `refusal`."""
        return await self._await(lambda: self._refusal(clearance))

    def begin(self, clearance: Clearance, *, journal: bool) -> Work | Clearance:
        """Start a granted call, once its lock is held. With `journal` it is written down first.

        Answers a clearance instead where its lock was not to be had, or it was started before: then it is not begun.
        """
        return self._run(lambda: self._begin(clearance, journal=journal))

    async def abegin(self, clearance: Clearance, *, journal: bool) -> Work | Clearance:
        """As `begin`. A caller that is cancelled before it hears of its work leaves none begun."""
        begun: list[Work] = []

        async def work() -> Work | Clearance:
            found = await self._begin(clearance, journal=journal)
            if isinstance(found, Work):
                begun.append(found)
            return found

        async def undo() -> None:
            for each in begun:
                await each.undo()

        try:
            return await self._await(work)
        except asyncio.CancelledError:
            self.calls.line.post(undo)  # in the loop of the line, after the cancellation or the end of the work
            raise

    def _run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return self.calls.line.run(work)

    async def _await(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return await self.calls.line.await_(work)

    async def _open(self, calls: Iterable[ToolCall], durable: bool) -> Docket:
        docket = Docket(self, [], durable=durable)
        try:
            for call in calls:
                docket.clearances.append(await self.clear(call, durable=durable))
            await docket.give_back()
        except BaseException:
            docket.drop(approved=False)
            raise
        return docket

    async def clear(self, call: ToolCall, *, durable: bool) -> Clearance:
        """Judge one call, in the loop of the line. A grant that was given back or ran out unused is asked for anew."""
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
        return entry.state == "unknown" or (entry.state == "finished" and entry.result != _PAUSED)

    async def _as_approved(self, call: ToolCall, verdict: Verdict) -> Clearance:
        """Refused, or granted, unless a person approved another call than this one."""
        if not verdict.granted:
            return Clearance(call, "refused", verdict)
        if self.calls.is_approved(call, verdict):
            return Clearance(call, "granted", verdict)
        await self.calls.line.agent.release(verdict.grant_id or "")
        other = replace(verdict, status="REJECTED", code="not_approved", reason=CHANGED)
        return Clearance(call, "refused", other)

    async def decide(self, clearance: Clearance, decision: Mapping[str, Any], *, durable: bool) -> Clearance:
        """Apply what a person said of an open call."""
        call, verdict, said = clearance.call, clearance.verdict, str(decision.get("message") or "")
        kind = decision.get("type")
        if clearance.state == "unknown" and verdict.granted and kind in {"approve", "edit"}:
            await self.calls.line.agent.release(verdict.grant_id or "")  # a person says that it was not done
        if clearance.state == "unknown" and verdict.granted and kind == "respond":
            await self.calls.line.agent.settle(verdict.grant_id or "", cost_usd=verdict.reserved_usd)
        if kind == "edit":
            arguments = decision["edited_action"]["args"]
            if canonical_json(arguments) != canonical_json(call.arguments):
                return await self._edit(clearance, arguments, durable)
            kind = "approve"
        if kind == "approve":
            again = replace(call, attempt=call.attempt + 1) if clearance.state == "unknown" else call
            return await self.clear(again, durable=durable)
        if clearance.state == "asked":
            await self.calls.line.agent.release(verdict.grant_id or "")
        if kind == "respond":
            return Clearance(call, "done", verdict, said)
        code = "outcome_unknown" if clearance.state == "unknown" else "declined"
        reason = f"A person declined it: {said}" if said else _REASONS[code]
        return Clearance(call, "refused", replace(verdict, status="REJECTED", code=code, reason=reason))

    async def _edit(self, clearance: Clearance, arguments: Any, durable: bool) -> Clearance:
        """Judge the edited call; the journal remembers it before the question about the first one is taken back."""
        call = clearance.call
        if clearance.state == "asked":
            runner = self.calls.new_runner()
            await self.calls.journal("start", call, runner)
            await self.calls.journal("finish", call, runner, _EDITED + canonical_json(arguments))
            await self.calls.line.agent.release(clearance.verdict.grant_id or "")
        return await self.clear(replace(call, arguments=arguments, attempt=0), durable=durable)

    async def _wait(self, clearance: Clearance) -> Clearance:
        if clearance.state != "asked":
            return clearance
        verdict = await self.calls.verdict_of(clearance.call, self._patience)
        if verdict.granted:
            return await self._as_approved(clearance.call, verdict)
        if verdict.status == "PENDING" and verdict.grant_id:
            await self.calls.line.agent.release(verdict.grant_id)
        return Clearance(clearance.call, "refused", verdict)

    async def _refusal(self, clearance: Clearance) -> AegisDenied:
        verdict = clearance.verdict
        if clearance.state == "unknown":
            verdict = replace(verdict, status="REJECTED", code="outcome_unknown", reason=_REASONS["outcome_unknown"])
        return denied(clearance.call, verdict, await self.calls.count_refusal(clearance.call))

    async def _begin(self, clearance: Clearance, *, journal: bool) -> Work | Clearance:
        call = clearance.call
        held = Reservation(self.calls, call, clearance.verdict)
        if (refused := await self.calls.lock(held)) is not None:
            return Clearance(call, "refused", refused)
        if not journal or call.call_id is None:
            return Work(self, held, None)
        runner = self.calls.new_runner()
        try:
            entry = await self.calls.journal("start", call, runner)
        except BaseException:
            await held.unlock()
            raise
        if entry.state == "started":
            return Work(self, held, runner)
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


class Work:
    """A tool call that is running: end it once, by `finish`, `fail` or `pause`."""

    def __init__(self, desk: Desk, held: Reservation, runner: str | None) -> None:
        self.held = held
        self._desk, self._runner = desk, runner

    def finish(self, result: Any) -> None:
        """It is done: store its result, a JSON value, and charge it."""
        self._desk.calls.line.run(lambda: self._finish(result))

    async def afinish(self, result: Any) -> None:
        """As `finish`."""
        await self._desk.calls.line.await_(lambda: self._finish(result))

    def fail(self, error: Any) -> None:
        """It raised: store the error and give the money back."""
        self._desk.calls.line.run(lambda: self._fail(error))

    async def afail(self, error: Any) -> None:
        """As `fail`."""
        await self._desk.calls.line.await_(lambda: self._fail(error))

    def pause(self) -> None:
        """It pauses the run by itself, and will be run again from its start."""
        self._desk.calls.line.run(self._pause)

    async def apause(self) -> None:
        """As `pause`."""
        await self._desk.calls.line.await_(self._pause)

    async def undo(self) -> None:
        """Nobody has run it, nor will: let it be run another time. In the loop of the line."""
        try:
            await self._end("finish", _PAUSED)
        except AegisError as error:
            _log.warning("%s was not run, which could not be written down: %s", self.held.call.name, error)
        await self.held.arelease()

    async def _finish(self, result: Any) -> None:
        try:
            await self._end("finish", _packed(result))
        finally:
            await self.held.asettle()

    async def _fail(self, error: Any) -> None:
        try:
            await self._end("fail", _packed(error))
            self._desk.remember_failure(cast("ToolCall", self.held.call))
        finally:
            await self.held.arelease()

    async def _pause(self) -> None:
        try:
            await self._end("finish", _PAUSED)
        finally:
            await self.held.arelease()

    async def _end(self, act: Literal["finish", "fail"], text: str) -> None:
        if self._runner is not None:
            await self._desk.calls.journal(act, cast("ToolCall", self.held.call), self._runner, text)


_REASONS = {"declined": "A person declined it", "outcome_unknown": UNKNOWN}


def _edited(entry: JournalEntry) -> Any:
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


def _packed(result: Any) -> str:
    """JSON of at most `MAX_RESULT` characters; what is longer is kept as the beginning of its text."""
    text = storable(canonical_json(result))
    return text if len(text) <= MAX_RESULT else canonical_json(text[: MAX_RESULT // 2] + " … (cut)")[:MAX_RESULT]
