"""One tool call of agentchat: asked for by waiting in the tool, or by handing the conversation to a human."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from weakref import WeakKeyDictionary

from autogen_core import CancellationToken

from aegis_autogen.agentchat.cancellation import linked
from aegis_autogen.agentchat.final_denials import remember
from aegis_core.adapting import CallGovernor, Reservation, ToolCall
from aegis_core.adapting.denials import CHANGED
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.messages import Verdict


class WaitInTool:
    """Waits in the tool. Other tools of the same answer go on meanwhile."""

    def __init__(self, calls: CallGovernor, thread: str | None) -> None:
        self.calls, self.thread = calls, thread

    async def run(
        self,
        tool: str,
        arguments: Mapping[str, object],
        call_id: str | None,
        token: CancellationToken | None,
        work: Callable[[], Awaitable[object]],
    ) -> object:
        """What the tool answers, or the text that tells the model that a human is asked.

        Raises:
            AegisDenied: refused; the tool did not run.
        """
        async with self.holding(tool, arguments, call_id, token) as pending:
            return await work() if pending is None else pending

    @asynccontextmanager
    async def holding(
        self, tool: str, arguments: Mapping[str, object], call_id: str | None, token: CancellationToken | None
    ) -> AsyncGenerator[str | None]:
        """Hold the tool's cost around its run: charged after it, given back when it raises."""
        try:
            held = await linked(self._begin(ToolCall(tool, dict(arguments), thread=self.thread)), token)
        except AegisDenied as denied:
            if denied.final:
                remember(denied, call_id)
            raise
        if isinstance(held, str):
            yield held
            return
        try:
            with held.inside():
                yield None
        except Exception as error:
            await self._ended(held, error)
            await held.arelease()
            raise
        except BaseException:  # cancelled: how far the tool came, nobody knows
            held.abandon(consumed=True)
            raise
        await self._ended(held, None)
        await held.asettle()

    async def _begin(self, call: ToolCall) -> Reservation | str:
        return await self.calls.abegin(call)

    async def _ended(self, held: Reservation, error: BaseException | None) -> None:
        """Nothing to write down: nobody runs this call again."""


class HandOff(WaitInTool):
    """Does not wait. The model, told to hand over, calls the tool again after the decision, under another call id.

    So a call is named by its conversation, its tool, its arguments and its turn among equal calls. The execution
    journal says whose turn has passed: one approval runs one call, whichever process makes it. A refusal has its turn,
    too, unless a person declined.
    """

    def __init__(self, calls: CallGovernor, thread: str | None, target: str) -> None:
        super().__init__(calls, thread)
        self._target = target
        self._runners: WeakKeyDictionary[Reservation, str] = WeakKeyDictionary()

    async def _begin(self, call: ToolCall) -> Reservation | str:
        for turn in count():
            call = replace(call, call_id=str(turn), message_id="hand-off")
            verdict = await self.calls.aask(call)
            if verdict.status == "PENDING":
                return (
                    f"A human must approve {call.name} and is being asked (question {verdict.escalation_id}). Call "
                    f"transfer_to_{self._target} now; once they answer, call {call.tool} again with the same arguments."
                )
            if verdict.granted:
                if self.calls.is_approved(call, verdict):
                    runner = self.calls.new_runner()
                    if (await self.calls.astart(call, runner)).state != "started":
                        continue  # another equal call has this turn, or had it
                    held = self.calls.held(call, verdict)
                    self._runners[held] = runner
                    try:
                        await self.calls.alock(held)
                    except BaseException as error:
                        await self._ended(held, error)
                        raise
                    return held
                await self.calls.held(call, verdict).arelease()
                changed = replace(verdict, status="REJECTED", code="not_approved", reason=CHANGED)
                raise await self.calls.arefuse(call, changed)
            if verdict.status == "REJECTED" and await self._is_news(call, verdict):
                raise await self.calls.arefuse(call, verdict)
        raise AssertionError

    async def _is_news(self, call: ToolCall, verdict: Verdict) -> bool:
        """Whether a refusal is told for the first time; after that its turn has passed, since budgets and rules change.

        What a person declined stays declined.
        """
        if verdict.state == "declined":
            return True
        runner = self.calls.new_runner()
        if (await self.calls.astart(call, runner)).state != "started":
            return False
        await self.calls.afinish(call, runner, verdict.code, failed=True)
        return True

    async def _ended(self, held: Reservation, error: BaseException | None) -> None:
        assert isinstance(held.call, ToolCall)
        await self.calls.afinish(held.call, self._runners.pop(held), str(error or ""), failed=error is not None)
