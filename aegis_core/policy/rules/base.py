"""What all rule types share: the fields of a rule, and the form into which it compiles.

A rule compiles into conditions that must all hold. The engine knows how to look up phrases and resource types of many
rules at once; whatever else a rule type wants to know goes into its `test`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StrictBool

from aegis_core.fields import Identifier
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.phrases import Phrase, compile_phrase
from aegis_core.policy.ruling import Objection
from aegis_core.protocol import RESOURCE_TYPES, PermissionRequest, ResourceType

MAX_PHRASE = 200


def _phrase(value: str) -> str:
    compile_phrase(value)
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank; leave it out for a text made from the rule")
    return value


PhraseText = Annotated[str, Field(max_length=MAX_PHRASE), AfterValidator(_phrase)]
Phrases = Annotated[tuple[PhraseText, ...], Field(min_length=1)]
ResourceTypes = Annotated[tuple[ResourceType, ...], Field(min_length=1)]
Test = Callable[[PermissionRequest, AgentFacts], bool]
Account = Callable[[PermissionRequest, AgentFacts], str]

ALL_TYPES = frozenset(RESOURCE_TYPES)


def _always(_request: PermissionRequest, _facts: AgentFacts) -> bool:
    return True


def _nothing(_request: PermissionRequest, _facts: AgentFacts) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When a compiled rule matches: all of these hold.

    Attributes:
        phrases: at least one of them occurs in the intent; none given asks nothing of it.
        resource_types: the request's is one of them.
        test: true for this request of this agent.
        account: what `test` saw, in words, whichever way it went.
        above_nanos: the amount, which is not known here, exceeds this many nano-dollars.
    """

    phrases: tuple[Phrase, ...] = ()
    resource_types: frozenset[str] = ALL_TYPES
    test: Test = _always
    account: Account = _nothing
    above_nanos: int | None = None


class Rule(BaseModel, extra="forbid", frozen=True):
    """One rule of a policy document. Subclasses set `type`, the default of `effect`, and their own fields."""

    name: Identifier
    type: str
    effect: Objection
    reason: Annotated[str, Field(max_length=500), AfterValidator(_not_blank)] | None = None
    enabled: StrictBool = True

    def compile(self) -> Conditions:
        """The rule in the form that the engine evaluates."""
        raise NotImplementedError


def compile_phrases(sources: tuple[str, ...] | None) -> tuple[Phrase, ...]:
    """Phrases that have passed validation."""
    return tuple(compile_phrase(source) for source in sources or ())


def types_or_all(resource_types: tuple[ResourceType, ...] | None) -> frozenset[str]:
    """An absent list of resource types means all of them."""
    return frozenset[str](resource_types) if resource_types else ALL_TYPES
