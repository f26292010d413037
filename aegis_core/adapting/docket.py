"""What a person is asked about the tool calls of one answer of a model, and what the person said.

The question has the shape of LangChain's ``HITLRequest``, the answer that of its ``HITLResponse``. An answer only
narrows: an approval counts when Aegis has it from an operator, and an edited call is judged anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from aegis_core.adapting.calls import ToolCall
from aegis_core.protocol import Verdict

if TYPE_CHECKING:
    from aegis_core.adapting.desk import Desk

State = Literal["granted", "asked", "unknown", "refused", "done"]

DECISIONS = ["approve", "edit", "reject", "respond"]

UNKNOWN = "it was started before and its outcome is unknown, so it may have been done already"


@dataclass(frozen=True, slots=True)
class Clearance:
    """How a tool call stands.

    Attributes:
        call: the call that may run: the one that was described, a further attempt of it, or the one a person edited.
        state: ``asked`` waits for a person; ``unknown`` was started before, nobody knows what became of it; ``done``
            has a stored result, which is replayed.
        verdict: the governor's last word.
        result: the stored result of a call that is done, or what a person answered in its place.
        failed: the stored result is an error.
    """

    call: ToolCall
    state: State
    verdict: Verdict
    result: Any = ""
    failed: bool = False

    @property
    def is_open(self) -> bool:
        """True when a person must speak first."""
        return self.state in {"asked", "unknown"}

    @property
    def was_asked(self) -> bool:
        """True when a person was asked, whatever became of it. Stable, so that answers keep their places."""
        return self.is_open or self.verdict.escalation_id is not None


class Docket:
    """The calls of one answer of a model, in its order, and what a person must say of them.

    ::

        docket = desk.open(calls, durable=True)
        while (question := docket.question) is not None:
            docket.answer(interrupt(question))
    """

    def __init__(self, desk: Desk, clearances: list[Clearance], *, durable: bool) -> None:
        self.clearances = clearances
        self._desk, self._durable = desk, durable

    @property
    def question(self) -> dict[str, Any] | None:
        """What to interrupt with; None: nothing is open. Holds all that were asked, also those decided meanwhile."""
        if not any(each.is_open for each in self.clearances):
            return None
        asked = [each for each in self.clearances if each.was_asked]
        return {
            "action_requests": [
                {"name": each.call.tool, "args": each.call.arguments or {}, "description": _described(each)}
                for each in asked
            ],
            "review_configs": [{"action_name": each.call.tool, "allowed_decisions": DECISIONS} for each in asked],
            "aegis": [
                {"approval_id": each.verdict.escalation_id, "state": each.state, "request_id": each.verdict.request_id}
                for each in asked
            ],
        }

    def answer(self, value: Any) -> None:
        """Apply a ``HITLResponse``. One of another form changes nothing, so that it poisons no thread."""
        self._desk.calls.line.run(lambda: self._answer(value))

    async def aanswer(self, value: Any) -> None:
        """As `answer`."""
        await self._desk.calls.line.await_(lambda: self._answer(value))

    async def _answer(self, value: Any) -> None:
        places = [place for place, each in enumerate(self.clearances) if each.was_asked]
        decisions = decisions_in(value, len(places))
        for place, decision in zip(places, decisions or (), strict=decisions is not None):
            if self.clearances[place].is_open:
                self.clearances[place] = await self._desk.decide(
                    self.clearances[place], decision, durable=self._durable
                )
        await self.give_back()

    def drop(self, *, approved: bool) -> None:
        """Give back what granted calls hold, because another one ends the run; `approved`: those of a person, too."""
        for each in self.clearances:
            if each.state == "granted" and (approved or not each.was_asked):
                self._desk.calls.held(each.call, each.verdict).abandon(consumed=False)

    async def give_back(self) -> None:
        """Hold no money for the others while a person is awaited; ask for it again when nobody is."""
        waiting = any(each.is_open for each in self.clearances)
        for place, each in enumerate(self.clearances):
            if waiting and each.state == "granted" and not each.was_asked:
                await self._desk.calls.line.agent.release(each.verdict.grant_id or "")
                each.verdict.state = "released"
            elif not waiting and each.verdict.state == "released" and each.state == "granted":
                self.clearances[place] = await self._desk.clear(each.call, durable=self._durable)


def decisions_in(value: Any, expected: int) -> list[dict[str, Any]] | None:
    """The decisions of a ``HITLResponse``; None where it is none for so many actions."""
    found: Any = cast("Mapping[str, Any]", value).get("decisions") if isinstance(value, Mapping) else None
    if not isinstance(found, list) or len(cast("list[Any]", found)) != expected:
        return None
    decisions = cast("list[Any]", found)
    return decisions if all(_is_decision(each) for each in decisions) else None


def _is_decision(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    said = cast("Mapping[str, Any]", value)
    if said.get("type") == "edit":
        action = said.get("edited_action")
        return isinstance(action, Mapping) and isinstance(cast("Mapping[str, Any]", action).get("args"), Mapping)
    return said.get("type") in DECISIONS


def _described(clearance: Clearance) -> str:
    if clearance.state == "unknown":
        why = UNKNOWN.removeprefix("it ")
        return f"{clearance.call.name} {why}. Approve to run it again, respond with its result, or reject it."
    return f"{clearance.call.name}: {clearance.verdict.reason}"
