"""A rule beside its conditions, and an index that finds those of many that match."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_core.policy.case import Case
from aegis_core.policy.phrases import STEM, Phrase
from aegis_core.policy.rules.base import Rule, always, beyond
from aegis_core.policy.ruling import CostLimit, Counter, GasCeiling, RuleEffect
from aegis_core.protocol.messages import RESOURCE_TYPES, ResourceType
from aegis_core.protocol.money import format_usd


class CompiledRule:
    """One rule, ready to judge. The lowest `weight` of those that match decides: effect first, then order."""

    __slots__ = (
        "ceiling", "conditions", "counter", "effect", "limit", "models", "order", "phrases", "resource_types", "rule",
        "test", "weight",
    )  # fmt: skip

    def __init__(self, rule: Rule, order: int, count: int) -> None:
        self.rule, self.order = rule, order
        self.weight = order if rule.effect == "deny" else order + count
        self.conditions = conditions = rule.compile()
        # Read on every evaluation, so kept one attribute away.
        self.phrases, self.resource_types = conditions.phrases, conditions.resource_types
        self.test = self._test if conditions.tools or conditions.ignored else conditions.test
        self.effect: RuleEffect = "observe" if rule.effect == "allow" else rule.effect
        self.limit, self.counter, self.models = self._limit(), self._counter(), conditions.models
        self.ceiling = self._ceiling()

    @property
    def decides(self) -> bool:
        """True when a match alone is an effect: no amount, count, price of gas, choice of models or note."""
        return not (self.rule.observed or self.limit or self.counter or self.models or self.ceiling)

    @property
    def unconditional(self) -> bool:
        """True when every request of its resource types matches."""
        conditions = self.conditions
        asks = conditions.phrases or conditions.regexes or conditions.tools
        return not asks and conditions.test is always

    def matches(self, case: Case) -> bool:
        """Whether all conditions hold."""
        return case.request.resource_type in self.resource_types and self.reads(case) and self.test(case)

    def reads(self, case: Case) -> bool:
        """Whether the intent has the words it must have."""
        conditions = self.conditions
        if not (conditions.phrases or conditions.regexes):
            return True
        text = self._read(case)
        return any(phrase.occurs(text) for phrase in conditions.phrases) or self.searches(case)

    def searches(self, case: Case) -> bool:
        """Whether one of the regular expressions occurs in the intent."""
        return any(regex.search(text) is not None for _, regex in self.conditions.regexes for text in case.searchable)

    def tool(self, case: Case) -> str | None:
        """The entry of the rule's tools under which the request's tool falls. A call that names none may be of any."""
        tools, tool = self.conditions.tools, case.tool
        if tools is None:
            return None
        if tool is None:
            return tools.sources[0] if case.request.resource_type == TOOL_CALL else None
        return tools.entry(tool)

    def cause(self, case: Case) -> str:
        """Why the rule matched."""
        text = self._read(case)
        parts = [f'the intent matches "{phrase.source}"' for phrase in self.phrases if phrase.occurs(text)][:1]
        for source, regex in () if parts else self.conditions.regexes:
            if any(regex.search(text) is not None for text in case.searchable):
                parts.append(f"the intent matches /{source}/")
                break
        if entry := self.tool(case):
            tool = case.request.tool
            if tool is None:
                parts.append(f'the call names no tool, and may be of "{entry}"')
            else:  # reasons stay where an agent's own words are removed
                parts.append(f'the tool is "{tool}"' if tool == entry else f'the tool falls under "{entry}"')
        if account := self.conditions.account(case):
            parts.append(account)
        return " and ".join(parts) or f"every {case.request.resource_type} request"

    def reason(self, case: Case) -> str:
        """What is told of a match: the operator's words, else the cause."""
        return self.rule.reason or self.cause(case)

    def _read(self, case: Case) -> str:
        text = case.text
        for phrase in self.conditions.ignored:
            text = phrase.cut(text)
        return text

    def _test(self, case: Case) -> bool:
        """The test of a rule that has tools, or words that do not count."""
        conditions = self.conditions
        if conditions.tools and self.tool(case) is None:
            return False
        return (not conditions.ignored or self.reads(case)) and conditions.test(case)

    def _limit(self) -> CostLimit | None:
        nanos, rule = self.conditions.above_nanos, self.rule
        if nanos is None:
            return None
        reason = rule.reason or f"more than {format_usd(nanos)} {beyond(rule.effect)}"
        return CostLimit(nanos, self.effect, rule.name, reason, rule.observed)

    def _counter(self) -> Counter | None:
        rule = self.rule
        if self.conditions.count is None:
            return None
        kind, limit, window, words = self.conditions.count
        return Counter(kind, rule.name, limit, window, self.effect, rule.reason or words, rule.observed)

    def _ceiling(self) -> GasCeiling | None:
        wei, rule = self.conditions.gas_above, self.rule
        if wei is None:
            return None
        reason = rule.reason or f"gas above {self.conditions.gas_words} {beyond(rule.effect)}"
        return GasCeiling(wei, self.effect, rule.name, reason, rule.observed)


TOOL_CALL: ResourceType = "api_call"
"""The resource type of tool calls."""

_Candidate = tuple[int, str, Phrase, CompiledRule]
"""A phrase of a rule, with what is looked at first taken out: the rule's weight and the phrase's opening."""


class RuleIndex:
    """Finds the rules that match. A phrase is tried only when some word of the intent begins like one of its own."""

    __slots__ = ("_direct", "_index", "_searched", "_stems", "_unindexed")

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        """Take rules in order of weight."""
        self._direct = {
            kind: tuple(
                each
                for each in rules
                if kind in each.resource_types and not each.phrases and not each.conditions.regexes
            )
            for kind in RESOURCE_TYPES
        }
        self._searched = tuple(each for each in rules if each.conditions.regexes)
        self._index: dict[str, list[_Candidate]] = {}
        self._unindexed: list[_Candidate] = []
        for each in rules:
            for phrase in each.phrases:
                bucket = self._unindexed if phrase.stem is None else self._index.setdefault(phrase.stem, [])
                bucket.append((each.weight, phrase.opening, phrase, each))
        self._stems = frozenset(self._index)

    def strictest(self, case: Case, beyond_all: int) -> CompiledRule | None:
        """The matching rule of the lowest weight; `beyond_all` is higher than any weight."""
        kind = case.request.resource_type
        best: CompiledRule | None = None
        for each in self._direct[kind]:
            if each.test(case):
                best = each
                break
        weight = beyond_all if best is None else best.weight
        stems = self._stems
        if (stems and (stems := stems & {word[:STEM] for word in case.words})) or self._unindexed:
            text = case.text
            for candidates in (self._unindexed, *map(self._index.__getitem__, stems)):
                for weighs, opening, phrase, each in candidates:
                    if weighs >= weight:
                        # Candidates lie in order of weight: none of the rest can be stricter.
                        break
                    # Most candidates fail at the first search, so it comes before any call.
                    if opening not in text or kind not in each.resource_types:
                        continue
                    if phrase.occurs(text) and each.test(case):
                        best, weight = each, weighs
        for each in self._searched:
            if each.weight >= weight:
                break
            if kind in each.resource_types and each.searches(case) and each.test(case):
                return each
        return best

    def all(self, case: Case) -> list[CompiledRule]:
        """Every matching rule, in the order of the policy."""
        kind = case.request.resource_type
        found = {each.order: each for each in self._direct[kind] if each.test(case)}
        for candidates in self._buckets(case):
            text = case.text
            for _, opening, phrase, each in candidates:
                if opening not in text or each.order in found or kind not in each.resource_types:
                    continue
                if phrase.occurs(text) and each.test(case):
                    found[each.order] = each
        for each in self._searched:
            if each.order not in found and kind in each.resource_types and each.searches(case) and each.test(case):
                found[each.order] = each
        return [found[order] for order in sorted(found)]

    def _buckets(self, case: Case) -> list[list[_Candidate]]:
        """The phrases that may occur, by the words of the intent."""
        if not self._stems:
            return [self._unindexed] if self._unindexed else []
        stems = self._stems & {word[:STEM] for word in case.words}
        buckets = [self._index[stem] for stem in stems]
        if self._unindexed:
            buckets.append(self._unindexed)
        return buckets
