"""What all rule types share: the fields of a rule, and the form into which it compiles.

A rule compiles into conditions that must all hold. The engine knows how to look up phrases and resource types of many
rules at once; whatever else a rule type wants to know goes into its `test`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StrictBool, model_validator

from aegis_core.policy.asking import AskingTerms
from aegis_core.policy.case import Case
from aegis_core.policy.globs import NamePatterns
from aegis_core.policy.phrases import Phrase, compile_phrase
from aegis_core.policy.regexes import Regex, Regexes, compile_regex
from aegis_core.policy.ruling import CounterKind, Effect, RuleEffect
from aegis_core.policy.tool_names import ToolList
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.messages import RESOURCE_TYPES, ResourceType

MAX_PHRASE = 200


def _phrase(value: str) -> str:
    compile_phrase(value)
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank; leave it out for a text made from the rule")
    return value


PhraseText = Annotated[str, Field(max_length=MAX_PHRASE), AfterValidator(_phrase)]


def _gapless(value: str) -> str:
    if len(compile_phrase(value).runs) > 1:
        raise ValueError("has a …; what is ignored must stand in one piece")
    return value


Phrases = Annotated[tuple[PhraseText, ...], Field(min_length=1)]
IgnoredPhrases = Annotated[tuple[Annotated[PhraseText, AfterValidator(_gapless)], ...], Field(min_length=1)]
ResourceTypes = Annotated[tuple[ResourceType, ...], Field(min_length=1)]
Test = Callable[[Case], bool]
Account = Callable[[Case], str]

ALL_TYPES = frozenset(RESOURCE_TYPES)


def always(_case: Case) -> bool:
    """The test of a rule that asks nothing more."""
    return True


def nothing(_case: Case) -> str:
    """The account of a test that saw nothing worth telling."""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """When a compiled rule matches: all of these hold.

    Attributes:
        phrases: at least one of them, or of `regexes`, occurs in the intent; none given asks nothing of it.
        ignored: words that are taken out of the intent before phrases are looked for.
        regexes: patterns with their sources.
        tools: the request names one of these tools; or it is a tool call that names none, and so may be any.
        resource_types: the request's is one of them.
        test: true for this request of this agent at this time.
        account: what `test` saw, in words, whichever way it went.
        above_nanos: the amount, which is not known here, exceeds this many nano-dollars.
        count: kind, limit, window in ms and a word for all of it: judged by the script, which keeps the counts.
        models: the only models that may be used.
        gas_above: gas costs more than so many of the smallest unit (`gas_words`): judged by the script, which knows the
            price.
    """

    phrases: tuple[Phrase, ...] = ()
    ignored: tuple[Phrase, ...] = ()
    regexes: tuple[tuple[str, Regex], ...] = ()
    tools: ToolList | None = None
    resource_types: frozenset[str] = ALL_TYPES
    test: Test = always
    account: Account = nothing
    above_nanos: int | None = None
    count: tuple[CounterKind, int, int, str] | None = None
    models: tuple[str, ...] = ()
    gas_above: int | None = None
    gas_words: str = ""


class Rule(BaseModel, extra="forbid", frozen=True, defer_build=True):  # a document names few of the types
    """One rule of a policy document. Subclasses set `type`, the default of `effect`, and their own fields."""

    name: Identifier
    type: str
    effect: Effect | RuleEffect
    mode: Literal["enforce", "observe"] = "enforce"
    reason: Annotated[str, Field(max_length=500), AfterValidator(_not_blank)] | None = None
    enabled: StrictBool = True
    asking: AskingTerms | None = None

    @model_validator(mode="after")
    def _asks_whom(self) -> Rule:
        if self.asking is not None and self.effect != "escalate":
            raise ValueError('asking: is of use with the effect "escalate" only')
        return self

    @property
    def observed(self) -> bool:
        """True when the rule is noted and never enforced."""
        return self.mode == "observe" or self.effect == "observe"

    def compile(self) -> Conditions:
        """The rule in the form that the engine evaluates."""
        raise NotImplementedError


class NarrowedRule(Rule, frozen=True):
    """A rule about some requests only: of these words, of these tools, of these kinds; what is given must all hold.

    `ignore_phrases` are taken out of the intent before `phrases` are looked for; the rest of the intent still counts.
    """

    phrases: Phrases | None = None
    ignore_phrases: IgnoredPhrases | None = None
    regexes: Regexes | None = None
    tools: NamePatterns | None = None
    resource_types: ResourceTypes | None = None

    @model_validator(mode="after")
    def _ignoring_something(self) -> NarrowedRule:
        if self.ignore_phrases and not self.phrases:
            raise ValueError("ignore_phrases: is of use beside phrases only")
        return self

    def compile(self) -> Conditions:
        """The requests that the rule is about."""
        return Conditions(
            phrases=tuple(compile_phrase(source) for source in self.phrases or ()),
            ignored=tuple(compile_phrase(source) for source in self.ignore_phrases or ()),
            regexes=tuple((source, compile_regex(source)) for source in self.regexes or ()),
            tools=ToolList(self.tools) if self.tools else None,
            resource_types=frozenset[str](self.resource_types) if self.resource_types else ALL_TYPES,
        )

    def compile_with(self, test: Test, account: Account) -> Conditions:
        """The same with a test of one's own."""
        return replace(NarrowedRule.compile(self), test=test, account=account)

    def refuse_unnarrowed(self) -> None:
        """For types that would otherwise be about every request.

        Raises:
            ValueError: none of the four is given.
        """
        if not (self.phrases or self.regexes or self.tools or self.resource_types):
            raise ValueError("phrases: give phrases, regexes, tools or resource_types, or several, which must all hold")


def beyond(effect: Effect | RuleEffect) -> str:
    """What is said of going beyond a limit."""
    return {"escalate": "needs a person's approval", "deny": "is not allowed"}.get(effect, "is noted")
