"""From a parsed policy document to validated rules, or to the one error that says what to mend."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import cast

from pydantic import ValidationError

from aegis_core.policy.regexes import ExpressionError
from aegis_core.policy.rules import RULE_TYPES, Rule
from aegis_core.policy.source import Source, Where
from aegis_core.protocol.parsing import invalid

SCHEMA = 1
MAX_RULES = 1_000

_FIELDS = ("schema", "rules")
# What pydantic calls a value of the wrong kind, in words of JSON.
_KINDS = {
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "too_short": "is empty",
    "too_long": "holds more than {max_length} entries",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_unicode": "holds a lone surrogate, which is not text",
}


def read_rules(document: object, source: Source) -> tuple[Rule, ...]:
    """Validate a document as a whole.

    Args:
        document: Python values as `json.loads` gives them.
        source: where they came from.

    Raises:
        PolicyError: the first thing that is wrong, with its line if `source` knows lines.
    """
    if not isinstance(document, dict):
        raise source.refuse((), 'must be an object with the fields "schema" and "rules"')
    fields = cast("dict[object, object]", document)
    _refuse_unknown(fields, _FIELDS, (), "the document", source)
    for name in _FIELDS:
        if name not in fields:
            raise source.refuse((), f'the document has no field "{name}"')
    if type(fields["schema"]) is not int or fields["schema"] != SCHEMA:
        problem = f"schema: is {_shown(fields['schema'])}; this version of Aegis reads schema {SCHEMA}"
        raise source.refuse(("schema",), problem)
    if not isinstance(fields["rules"], list):
        raise source.refuse(("rules",), "rules: must be a list")
    entries = cast("list[object]", fields["rules"])
    if len(entries) > MAX_RULES:
        raise source.refuse(("rules",), f"rules: holds {len(entries):,} rules; at most {MAX_RULES:,} are accepted")
    rules = tuple(_read_rule(entry, ("rules", place), source) for place, entry in enumerate(entries))
    _refuse_duplicates(rules, source)
    return rules


def _read_rule(entry: object, where: Where, source: Source) -> Rule:
    number = cast("int", where[-1]) + 1
    if not isinstance(entry, dict):
        raise source.refuse(where, f"rule {number} must be an object")
    fields = cast("dict[object, object]", entry)
    name = fields.get("name")
    label = f"rule {_shown(name)}" if isinstance(name, str) and name else f"rule {number}"
    kind = fields.get("type")
    if kind is None:
        raise source.refuse(where, f"{label} has no type; the types are {_listed(RULE_TYPES)}")
    if not isinstance(kind, str) or kind not in RULE_TYPES:
        nearest = _nearest(str(kind), RULE_TYPES)
        known = "" if nearest else f"; the types are {_listed(RULE_TYPES)}"
        raise source.refuse((*where, "type"), f"{label} has an unknown type {_shown(kind)}{known}", nearest=nearest)
    model = RULE_TYPES[kind]
    _refuse_unknown(fields, tuple(model.model_fields), where, label, source)
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        field, problem, nearest, column = _first_problem(error)
        raise source.refuse((*where, *field), f"{label}: {problem}", nearest=nearest, column=column) from None


def _refuse_unknown(fields: Iterable[object], known: tuple[str, ...], where: Where, label: str, source: Source) -> None:
    for name in fields:
        if name not in known:
            nearest = _nearest(str(name), known)
            hint = "" if nearest else f"; its fields are {_listed(known)}"
            problem = f"{label} has no field {_shown(name)}{hint}"
            raise source.refuse((*where, str(name)), problem, nearest=nearest)


def _refuse_duplicates(rules: tuple[Rule, ...], source: Source) -> None:
    seen: dict[str, int] = {}
    for place, rule in enumerate(rules):
        first = seen.setdefault(rule.name, place)
        if first != place:
            line = source.line(("rules", first, "name"))
            before = f"the first is on line {line}" if line else f"the first is rule {first + 1}"
            raise source.refuse(("rules", place, "name"), f"two rules are named {_shown(rule.name)}; {before}")


def _first_problem(error: ValidationError) -> tuple[Where, str, str | None, int | None]:
    """The first complaint as (place within the rule, words, nearest valid value, column of an expression)."""
    details = error.errors()[0]
    refusal = invalid(error)
    field, problem = refusal.field, str(refusal.facts["problem"])
    context: dict[str, object] = details.get("ctx", {})
    if details["type"] in _KINDS:
        problem = _KINDS[details["type"]].format_map(context)
    nearest, column, cause = None, None, context.get("error")
    if isinstance(cause, ExpressionError):
        nearest, column = cause.nearest, cause.column
    if details["type"] == "literal_error":
        nearest = _nearest(
            str(details["input"]), str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        )
    return details["loc"] or (field,), f"{field}: {problem}", nearest, column


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name[:100], list(known), 1)), None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."
