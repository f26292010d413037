"""``environment``: an agent of a test network never touches the main one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import RuleEffect
from aegis_core.policy.text import fold, words
from aegis_core.protocol.fields import Identifier

_TELLING = ("environment", "env", "network", "chain", "cluster")
_LONG = 6


class Environment(Rule, frozen=True):
    """A request that shows any sign of `environment`, by an agent whose label ``environment`` is not in `allowed`.

    A sign is the name as a word of the intent, of the target, of the tool, or of what the metadata say of environment
    or network. A name of six letters or more also counts inside of a longer word (``suiMainnet``). An agent without
    the label is allowed nowhere.
    """

    type: Literal["environment"] = "environment"
    effect: RuleEffect = "deny"
    environment: Identifier
    allowed: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None

    def compile(self) -> Conditions:
        """A search for signs."""
        sign = " ".join(words(self.environment)) or fold(self.environment)
        allowed = frozenset(map(fold, self.allowed or (self.environment,)))
        mark = sign if len(sign) >= _LONG else f" {sign} "

        def shown(case: Case) -> str | None:
            return next((place for place, text in _places(case) if mark in text), None)

        def label(case: Case) -> str:
            return case.facts.labels.get("environment", "")

        def test(case: Case) -> bool:
            return fold(label(case)) not in allowed and shown(case) is not None

        def account(case: Case) -> str:
            place = shown(case)
            if place is None:
                return f"nothing shows {self.environment}"
            who = f'the agent is of environment "{label(case)}"' if label(case) else "the agent has no environment"
            return f"{place} shows {self.environment} and {who}"

        return Conditions(test=test, account=account)


def _places(case: Case) -> Iterator[tuple[str, str]]:
    """Where an environment may show, and what stands there."""
    request = case.request
    yield "the intent", case.text
    for place, value in (("the target", request.target_resource), ("the tool", request.tool)):
        if value:
            yield place, f" {' '.join(words(value))} "
    for name, value in request.metadata.items():
        if name.lower() in _TELLING and isinstance(value, str):
            yield f"metadata.{name}", f" {' '.join(words(value))} "


RULE = Environment
