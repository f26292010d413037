"""The policy engine: a compiled, immutable policy and its pure evaluation.

Every rule that matches counts and the strictest effect wins, so the order of rules never changes an effect; among
equally strict rules the first one gives its name. Amounts and counts are judged later, where they are known: a ruling
carries the limits and counters that the request falls under.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime

from aegis_core.policy.asking import DEFAULT, Asker
from aegis_core.policy.case import Case
from aegis_core.policy.compiled import CompiledRule, RuleIndex
from aegis_core.policy.composing import compose, objection
from aegis_core.policy.document import SCHEMA, read_rules
from aegis_core.policy.explain import Explanation, explain
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.rules import Rule
from aegis_core.policy.rules.lasting_transaction import ImpliedLasting
from aegis_core.policy.ruling import Ruling
from aegis_core.policy.source import MAX_BYTES, Source
from aegis_core.protocol.messages import RESOURCE_TYPES, PermissionRequest
from aegis_core.protocol.money import to_nanos


class Policy:
    """An immutable policy, ready to evaluate. Made by `compile_policy` or `load_policy`.

    Attributes:
        rules: the rules in their order, switched-off ones included.
        document: the canonical JSON text; loading it gives an equal policy.
        digest: SHA-256 of `document` in hexadecimal, the same however the original was laid out.
    """

    __slots__ = (
        "_allowed",
        "_asking",
        "_compiled",
        "_deciding",
        "_given",
        "_noting",
        "_standing",
        "digest",
        "document",
    )

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        plain = {"schema": SCHEMA, "rules": [plain_rule(rule) for rule in rules]}
        self.document = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        self.digest = hashlib.sha256(self.document.encode()).hexdigest()
        self._given = len(rules)
        rules = (*rules, *_IMPLIED)
        self._compiled = [CompiledRule(rule, order, len(rules)) for order, rule in enumerate(rules)]
        active = [each for each in self._compiled if each.rule.enabled]
        deciding = sorted((each for each in active if each.decides), key=lambda each: each.weight)
        self._deciding = RuleIndex(deciding)
        self._asking = [each for each in active if each.effect == "escalate" and not each.rule.observed]
        standing = [each for each in active if (each.limit or each.counter) and each.unconditional]
        noting = [each for each in active if not each.decides and each not in standing]
        self._noting = RuleIndex(noting) if noting else None
        self._standing = {kind: [each for each in standing if kind in each.resource_types] for kind in RESOURCE_TYPES}
        self._allowed = {kind: compose(None, None, self._standing[kind]) for kind in RESOURCE_TYPES}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order."""
        return tuple(each.rule for each in self._compiled[: self._given])

    def __repr__(self) -> str:
        return f"<Policy {self.digest[:12]}, {self._given} rules>"

    def evaluate(self, request: PermissionRequest, facts: AgentFacts, now: datetime | None = None) -> Ruling:
        """Judge a request of an agent by the rules alone.

        Args:
            request: what is asked.
            facts: what is known of who asks.
            now: the server's time, with its zone. Rules about time match when it is not known.

        Returns:
            The strictest effect, and the limits and counters that hold for what is chosen and counted later.
        """
        case = Case(request, facts, now)
        best = self._deciding.strictest(case, 2 * len(self._compiled))
        allowed = self._allowed[request.resource_type]
        if self._noting is None or not (noted := self._noting.all(case)):
            ruling = allowed if best is None else objection(best, case, allowed)
        else:
            rules = sorted([*self._standing[request.resource_type], *noted], key=lambda each: each.order)
            ruling = compose(case, best, rules)
        if best is None:
            return ruling
        # Few requests meet an objection, so only of those all rules are tried that could have decided.
        names = tuple(each.rule.name for each in self._deciding.all(case))
        return replace(ruling, matched=(*names, *(each.rule for each in ruling.observed)))

    def askers(self, request: PermissionRequest, facts: AgentFacts, now: datetime | None = None) -> tuple[Asker, ...]:
        """Every rule that asks a person about a request, or would above an amount or a count, with its terms.

        Args:
            request, facts, now: as for `evaluate`, which a caller asks first: few requests need this.
        """
        case = Case(request, facts, now)
        return tuple(
            Asker(
                each.rule.name,
                each.limit.nanos if each.limit else -1,
                each.counter is not None or each.ceiling is not None,
                each.rule.asking or DEFAULT,
            )
            for each in self._asking
            if each.matches(case)
        )

    def explain(
        self,
        request: PermissionRequest,
        facts: AgentFacts,
        amount_nanos: int | None = None,
        now: datetime | None = None,
    ) -> list[Explanation]:
        """Say of every rule whether it matched and why.

        Args:
            request: what is asked.
            facts: what is known of who asks.
            amount_nanos: the amount for limits on cost; by default the request's own estimate.
            now: the server's time.

        Returns:
            One explanation a rule, in the order of the rules; then of what holds without one, where it does.
        """
        if amount_nanos is None and request.estimated_cost_usd is not None:
            amount_nanos = to_nanos(request.estimated_cost_usd)
        case, given = Case(request, facts, now), self._compiled[: self._given]
        implied = [each for each in self._compiled[self._given :] if each.matches(case)]
        return explain([*given, *implied], case, amount_nanos)


_IMPLIED = (ImpliedLasting(name="lasting-transaction"),)
"""What holds without a word of the operator: a transaction that never expires needs a person, because its money would
be held without an end. Rules can only make that stricter, as any rule does; a person may approve ahead."""


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


def plain_rule(rule: Rule) -> dict[str, object]:
    """A rule as JSON values. That it is enforced goes without saying, as it did before there was a choice."""
    fields = rule.model_dump(mode="json", exclude_none=True)
    if fields["mode"] == "enforce":
        del fields["mode"]
    return fields
