"""Cases that a policy must decide as expected: a test file for an operator's own rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pydantic import Field, ValidationError

from aegis_core.policy.engine import Policy
from aegis_core.policy.explain import Explanation
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.ruling import Effect, Ruling
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.parsing import Message, invalid

_AGENT = "agent"


class TrialAgent(Message):
    """What is known of the agent of a case."""

    agent_id: Identifier = _AGENT
    framework: str = "custom"
    capabilities: tuple[Identifier, ...] = ()
    max_priority: int = Field(default=10, ge=1, le=10)
    labels: dict[str, str] = Field(default_factory=dict)

    def facts(self) -> AgentFacts:
        """The same for the policy."""
        return AgentFacts(
            self.agent_id, self.framework, frozenset(self.capabilities), self.max_priority, dict(self.labels)
        )


class Trial(Message):
    """One case. `request` may leave agent_id and resource_type (api_call) out; `rule` is the one that must decide."""

    name: str = Field(min_length=1)
    request: PermissionRequest
    agent: TrialAgent = TrialAgent()
    now: datetime | None = None
    expect: Effect
    rule: Identifier | None = None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What became of a case: the ruling at its estimated cost, and every rule's account."""

    trial: Trial
    ruling: Ruling
    explanations: list[Explanation]

    @property
    def passed(self) -> bool:
        """Whether effect and rule are as expected."""
        return self.ruling.effect == self.trial.expect and self.trial.rule in {None, self.ruling.rule}


def read_trials(text: str | bytes, path: str) -> list[Trial]:
    """Read a JSON list of cases, or an object with the field ``cases``.

    Raises:
        InvalidRequestError: names the file, the case and the field.
    """
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{path}: is not JSON: {error}", field="", problem="is not JSON") from None
    if isinstance(document, dict):
        document = cast("dict[str, object]", document).get("cases")
    if not isinstance(document, list) or not document:
        problem = 'must be a list of cases, or an object with a list "cases", and hold at least one'
        raise InvalidRequestError(f"{path}: {problem}", field="cases", problem=problem)
    return [_read(entry, number, path) for number, entry in enumerate(cast("list[object]", document), 1)]


def run_trial(policy: Policy, trial: Trial) -> TrialResult:
    """Judge one case. Counts are not kept here: rate, repeat and spend rules decide nothing."""
    facts, cost = trial.agent.facts(), trial.request.estimated_cost_usd
    ruling = policy.evaluate(trial.request, facts, trial.now)
    if cost is not None:
        ruling = ruling.at(to_nanos(cost))
    return TrialResult(trial, ruling, policy.explain(trial.request, facts, now=trial.now))


def _read(entry: object, number: int, path: str) -> Trial:
    label = f"case {number}"
    if isinstance(entry, dict):
        fields = cast("dict[str, object]", entry)
        label += f' "{fields["name"]}"' if isinstance(fields.get("name"), str) else ""
        request, agent = fields.get("request"), fields.get("agent")
        if isinstance(request, dict):
            known: dict[str, object] = cast("dict[str, object]", agent) if isinstance(agent, dict) else {}
            name = known.get("agent_id", _AGENT)
            asked = {"agent_id": name, "resource_type": "api_call"} | cast("dict[str, object]", request)
            entry = fields | {"request": asked}
    try:
        return Trial.model_validate(entry)
    except ValidationError as error:
        refusal = invalid(error)
        problem = str(refusal.facts["problem"])
        field = refusal.field
        raise InvalidRequestError(
            f"{path}: {label}: {field + ': ' if field else ''}{problem}", field=field, problem=problem
        ) from None
