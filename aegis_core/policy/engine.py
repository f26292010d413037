"""The policy engine: a compiled, immutable policy and its pure evaluation.

Every rule that matches counts and the strictest effect wins, so the order of rules never changes an effect; among
equally strict rules the first one gives its name. Evaluation looks at the words of an intent once: a phrase is tried
only when some word begins like one of its own.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from aegis_core.money import format_usd, to_nanos
from aegis_core.policy.document import SCHEMA, read_rules
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.phrases import STEM, Phrase
from aegis_core.policy.rules import Rule
from aegis_core.policy.ruling import CostLimit, Effect, Objection, Ruling
from aegis_core.policy.source import MAX_BYTES, Source
from aegis_core.policy.text import spaced, words
from aegis_core.protocol import RESOURCE_TYPES, PermissionRequest

_ALLOWED = "no rule objects"


class _Compiled:
    """A rule beside its conditions. The lowest `weight` of those that match decides: effect first, then order."""

    __slots__ = ("conditions", "phrases", "resource_types", "rule", "test", "weight")

    def __init__(self, rule: Rule, order: int, count: int) -> None:
        self.rule = rule
        self.weight = order if rule.effect == "deny" else order + count
        self.conditions = conditions = rule.compile()
        # Read on every evaluation, so kept one attribute away.
        self.phrases, self.resource_types, self.test = conditions.phrases, conditions.resource_types, conditions.test

    def limit(self) -> CostLimit | None:
        """The rule as a limit on the amount, if it is one."""
        nanos = self.conditions.above_nanos
        if nanos is None:
            return None
        asks = "needs a person's approval" if self.rule.effect == "escalate" else "is not allowed"
        reason = self.rule.reason or f"more than {format_usd(nanos)} {asks}"
        return CostLimit(nanos, self.rule.effect, self.rule.name, reason)

    def cause(self, request: PermissionRequest, facts: AgentFacts, text: str) -> str:
        """Why the rule matched."""
        parts = [f'the intent matches "{phrase.source}"' for phrase in self.phrases if phrase.occurs(text)][:1]
        if account := self.conditions.account(request, facts):
            parts.append(account)
        return " and ".join(parts) or f"every {request.resource_type} request"


_Candidate = tuple[int, str, Phrase, _Compiled]
"""A phrase of a rule, with what is looked at first taken out: the rule's weight and the phrase's opening."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one rule made of a request, `why` in words. `matched` is false for a rule that is switched off."""

    rule: str
    type: str
    effect: Effect
    matched: bool
    why: str


class Policy:
    """An immutable policy, ready to evaluate. Made by `compile_policy` or `load_policy`.

    Attributes:
        rules: the rules in their order, switched-off ones included.
        document: the canonical JSON text; loading it gives an equal policy.
        digest: SHA-256 of `document` in hexadecimal, the same however the original was laid out.
    """

    __slots__ = ("_allowed", "_compiled", "_direct", "_index", "_limits", "_stems", "_unindexed", "digest", "document")

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        plain = {"schema": SCHEMA, "rules": [rule.model_dump(mode="json", exclude_none=True) for rule in rules]}
        self.document = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self.digest = hashlib.sha256(self.document.encode()).hexdigest()
        self._compiled = [_Compiled(rule, order, len(rules)) for order, rule in enumerate(rules)]
        active = [each for each in self._compiled if each.rule.enabled]
        judged = sorted((each for each in active if each.conditions.above_nanos is None), key=lambda each: each.weight)
        self._limits = {kind: _lowest_limits(active, kind) for kind in RESOURCE_TYPES}
        self._allowed = {kind: Ruling("allow", None, _ALLOWED, limits) for kind, limits in self._limits.items()}
        self._direct = {
            kind: tuple(each for each in judged if kind in each.resource_types and not each.phrases)
            for kind in RESOURCE_TYPES
        }
        self._index: dict[str, list[_Candidate]] = {}
        self._unindexed: list[_Candidate] = []
        for each in judged:
            for phrase in each.phrases:
                bucket = self._unindexed if phrase.stem is None else self._index.setdefault(phrase.stem, [])
                bucket.append((each.weight, phrase.opening, phrase, each))
        self._stems = frozenset(self._index)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order."""
        return tuple(each.rule for each in self._compiled)

    def __repr__(self) -> str:
        return f"<Policy {self.digest[:12]}, {len(self._compiled)} rules>"

    def evaluate(self, request: PermissionRequest, facts: AgentFacts) -> Ruling:
        """Judge a request of an agent by the rules alone.

        Args:
            request: what is asked.
            facts: what is known of who asks.

        Returns:
            The strictest effect, and the limits that hold for the amount, which is chosen later.
        """
        kind = request.resource_type
        best: _Compiled | None = None
        for each in self._direct[kind]:
            if each.test(request, facts):
                best = each
                break
        text = ""
        if self._stems or self._unindexed:
            found = words(request.task_intent)
            stems = self._stems & {word[:STEM] for word in found}
            if stems or self._unindexed:
                text = spaced(found)
                best = self._phrased(request, facts, text, stems, best)
        if best is None:
            return self._allowed[kind]
        reason = best.rule.reason or best.cause(request, facts, text)
        return Ruling(best.rule.effect, best.rule.name, reason, self._limits[kind])

    def _phrased(
        self, request: PermissionRequest, facts: AgentFacts, text: str, stems: frozenset[str], best: _Compiled | None
    ) -> _Compiled | None:
        """The strictest of `best` and the rules with a phrase in the text."""
        kind = request.resource_type
        weight = 2 * len(self._compiled) if best is None else best.weight
        for candidates in (self._unindexed, *map(self._index.__getitem__, stems)):
            for weighs, opening, phrase, each in candidates:
                if weighs >= weight:
                    # Candidates lie in order of weight: none of the rest can be stricter.
                    break
                # Most candidates fail at the first search, so it comes before any call.
                if opening not in text or kind not in each.resource_types:
                    continue
                if phrase.occurs(text) and each.test(request, facts):
                    best, weight = each, weighs
        return best

    def explain(
        self, request: PermissionRequest, facts: AgentFacts, amount_nanos: int | None = None
    ) -> list[Explanation]:
        """Say of every rule whether it matched and why.

        Args:
            request: what is asked.
            facts: what is known of who asks.
            amount_nanos: the amount for limits on cost; by default the request's own estimate.

        Returns:
            One explanation a rule, in the order of the rules.
        """
        if amount_nanos is None and request.estimated_cost_usd is not None:
            amount_nanos = to_nanos(request.estimated_cost_usd)
        text = spaced(words(request.task_intent))
        told: list[Explanation] = []
        for each in self._compiled:
            matched, why = _judge(each, request, facts, text, amount_nanos)
            told.append(Explanation(each.rule.name, each.rule.type, each.rule.effect, matched, why))
        return told


def compile_policy(document: object, *, source: Source | None = None) -> Policy:
    """Compile a policy document that has been parsed already.

    Args:
        document: ``{"schema": 1, "rules": [...]}`` as Python values.
        source: where it came from, for messages.

    Raises:
        PolicyError: the first thing that is wrong with it.
    """
    source = source or Source()
    policy = Policy(read_rules(document, source))
    if len(policy.document.encode()) > MAX_BYTES:
        raise source.refuse((), f"is larger than {MAX_BYTES // 1024} KB once its defaults are written out")
    return policy


def _lowest_limits(active: list[_Compiled], kind: str) -> tuple[CostLimit, ...]:
    """The lowest limit of each effect for a resource type; the earlier rule names equal ones."""
    lowest: dict[Objection, CostLimit] = {}
    for each in active:
        limit = each.limit()
        if limit is None or kind not in each.resource_types:
            continue
        known = lowest.get(limit.effect)
        if known is None or limit.nanos < known.nanos:
            lowest[limit.effect] = limit
    return tuple(lowest[effect] for effect in ("escalate", "deny") if effect in lowest)


def _judge(
    each: _Compiled, request: PermissionRequest, facts: AgentFacts, text: str, amount_nanos: int | None
) -> tuple[bool, str]:
    """Whether one rule matches, tried condition by condition, and why."""
    if not each.rule.enabled:
        return False, "the rule is switched off"
    if request.resource_type not in each.resource_types:
        return False, f"it is about {', '.join(sorted(each.resource_types))}, not {request.resource_type}"
    if each.phrases and not any(phrase.occurs(text) for phrase in each.phrases):
        return False, "none of its phrases occurs in the intent"
    if not each.test(request, facts):
        return False, each.conditions.account(request, facts)
    limit = each.conditions.above_nanos
    if limit is None:
        return True, each.cause(request, facts, text)
    if amount_nanos is None:
        return False, f"the limit is {format_usd(limit)}; the amount is not known yet"
    over = amount_nanos > limit
    return over, f"{format_usd(amount_nanos)} is {'more' if over else 'not more'} than {format_usd(limit)}"
