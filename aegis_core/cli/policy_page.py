"""How ``aegis policy`` shows rules, rulings and differences in eighty columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from aegis_core.cli.common import shown
from aegis_core.policy import Explanation, Policy, Ruling
from aegis_core.policy.diff import Change
from aegis_core.policy.trials import TrialResult

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"allow": "green", "observe": "cyan", "escalate": "yellow", "deny": "red"}
_SIGNS = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}
_SAID = frozenset({"name", "type", "effect", "mode", "enabled", "reason"})


def table(*columns: str) -> Table:
    """A plain table, in which long texts fold and what must not fold stays whole."""
    from rich.table import Table

    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in {"effect", "version", "digest", "at (UTC)", ""})
    return made


def count_of_rules(policy: Policy) -> str:
    """``1 rule``, ``13 rules``."""
    count = len(policy.rules)
    return f"{count} rule{'' if count == 1 else 's'}"


def effects(policy: Policy) -> dict[str, int]:
    """How many rules have which effect; observed ones and those that are off count as that."""
    counts: Counter[str] = Counter()
    for rule in policy.rules:
        word = "models" if rule.effect == "allow" else rule.effect
        counts["off" if not rule.enabled else "observe" if rule.observed else word] += 1
    return dict(counts.most_common())


def rules_table(rules: Sequence[tuple[str, bool, bool, Mapping[str, object]]]) -> Table:
    """Every rule with what it is about: effect, enabled, observed, and the rule as JSON values."""
    made = table("rule", "type", "effect", "about")
    for effect, enabled, observed, fields in rules:
        word = "[dim]off[/]" if not enabled else "[cyan]observe[/]" if observed else _effect(effect)
        made.add_row(shown(fields["name"]), str(fields["type"]), word, _about(fields))
    return made


def explained(told: Sequence[Explanation]) -> Table:
    """Every rule: whether it matched, its effect, and why."""
    made = table("", "rule", "effect", "why")
    for each in told:
        sign = "[bold]?[/]" if each.counted else "[bold]✓[/]" if each.matched else "[dim]·[/]"
        name, why = shown(each.rule), shown(each.why)
        if each.matched:
            note = "[cyan]observed:[/] " if each.observed else ""
            made.add_row(sign, f"[bold]{name}[/]", _effect(each.effect), note + why)
        else:
            made.add_row(sign, f"[dim]{name}[/]", f"[dim]{each.effect}[/]", f"[dim]{why}[/]")
    return made


def ruled(ruling: Ruling) -> Table:
    """The final ruling, and what is judged later."""
    made = _pairs()
    by = f"by {shown(ruling.rule)}: " if ruling.rule else ""
    made.add_row(f"[bold {_COLOURS[ruling.effect]}]{ruling.effect.upper()}[/]", f"{by}{shown(ruling.reason)}")
    if ruling.models:
        made.add_row("models", f"only {shown(', '.join(ruling.models))}")
    for counter in ruling.counters:
        noted = "[cyan]observed:[/] " if counter.observed else ""
        made.add_row("counted", f"{noted}{shown(counter.rule)}: {shown(counter.reason)}")
    for ceiling in ruling.ceilings:
        noted = "[cyan]observed:[/] " if ceiling.observed else ""
        made.add_row("gas", f"{noted}{shown(ceiling.rule)}: {shown(ceiling.reason)}")
    for each in ruling.observed:
        made.add_row("[cyan]observed[/]", f"{shown(each.rule)} ({each.effect}): {shown(each.reason)}")
    if ruling.would_be != ruling.effect:
        made.add_row("would be", f"{_effect(ruling.would_be)} if the observed rules were enforced")
    return made


def changed(changes: Sequence[Change]) -> Iterator[str]:
    """Each change on a line, the fields of a changed rule below it."""
    if not changes:
        yield "No rule differs."
    for change in changes:
        yield f"{_SIGNS[change.kind]} {shown(change.rule)} [dim]({change.type}, {change.effect})[/]"
        for name, (before, after) in change.fields.items():
            yield from _field(name, before, after)


def failure(outcome: TrialResult) -> Table:
    """What was expected of a case, what came, and the rules that matched."""
    trial, ruling = outcome.trial, outcome.ruling
    made = _pairs()
    made.add_row("[red]failed[/]", f"[bold]{shown(trial.name)}[/]")
    made.add_row("  expected", _effect(trial.expect) + (f" by {shown(trial.rule)}" if trial.rule else ""))
    by = f" by {shown(ruling.rule)}" if ruling.rule else ""
    made.add_row("  came", f"{_effect(ruling.effect)}{by}: {shown(ruling.reason)}")
    for each in outcome.explanations:
        told = f"{shown(each.rule)} ({each.effect}): {shown(each.why)}"
        if each.matched and not each.counted and each.rule != ruling.rule:
            made.add_row("  matched", told)
        elif each.rule == trial.rule and not each.matched:
            made.add_row("  did not", told)
    return made


def case_of(outcome: TrialResult) -> dict[str, object]:
    """A case for programs."""
    trial, ruling = outcome.trial, outcome.ruling
    return {
        "name": trial.name, "passed": outcome.passed, "expect": trial.expect, "expect_rule": trial.rule,
        "effect": ruling.effect, "rule": ruling.rule, "reason": ruling.reason,
    }  # fmt: skip


def _pairs() -> Table:
    from rich.table import Table

    made = Table.grid(padding=(0, 2))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    return made


def _effect(effect: str) -> str:
    return f"[{_COLOURS[effect]}]{effect}[/]"


def _about(fields: Mapping[str, object]) -> str:
    """The fields that make a rule what it is; long lists are cut, for `show --json` has them."""
    parts: list[str] = []
    for name, value in fields.items():
        if name in _SAID:
            continue
        text = _value(value)
        parts.append(f"{name} {text if len(text) <= 60 else text[:57] + '…'}")
    return shown("; ".join(parts))


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field(name: str, before: object, after: object) -> Iterator[str]:
    """A field that changed; of lists only the entries that came and went."""
    if isinstance(before, list) and isinstance(after, list):
        old, new = cast("list[object]", before), cast("list[object]", after)
        for entry in old:
            if entry not in new:
                yield f"    {name} [red]- {shown(_plain(entry))}[/]"
        for entry in new:
            if entry not in old:
                yield f"    {name} [green]+ {shown(_plain(entry))}[/]"
        if sorted(map(str, old)) == sorted(map(str, new)):
            yield f"    {name} in another order"
    else:
        yield f"    {name} [red]{shown(_plain(before))}[/] → [green]{shown(_plain(after))}[/]"


def _plain(value: Any) -> str:
    return "(not given)" if value is None else json.dumps(value, ensure_ascii=False)
