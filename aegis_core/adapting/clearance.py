"""What a person is asked about the tool calls of one answer of a model, and what the person said.

The question has the shape of LangChain's ``HITLRequest``, the answer that of its ``HITLResponse``. An answer only
narrows: an approval counts when Aegis has it from an operator, and an edited call is judged again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from aegis_core.adapting.calls import ToolCall
from aegis_core.protocol.messages import Verdict

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


def decisions_in(value: object, expected: int) -> list[dict[str, object]] | None:
    """The decisions of a ``HITLResponse``; None where it is none for so many actions."""
    found: object = cast("Mapping[str, object]", value).get("decisions") if isinstance(value, Mapping) else None
    if not isinstance(found, list) or len(cast("list[object]", found)) != expected:
        return None
    decisions = cast("list[Any]", found)
    return decisions if all(_is_decision(each) for each in decisions) else None


def _is_decision(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    said = cast("Mapping[str, object]", value)
    if said.get("type") == "edit":
        action = said.get("edited_action")
        return isinstance(action, Mapping) and isinstance(cast("Mapping[str, object]", action).get("args"), Mapping)
    return said.get("type") in DECISIONS


def described(clearance: Clearance) -> str:
    if clearance.state == "unknown":
        why = UNKNOWN.removeprefix("it ")
        return f"{clearance.call.name} {why}. Approve to run it again, respond with its result, or reject it."
    return f"{clearance.call.name}: {clearance.verdict.reason}"
