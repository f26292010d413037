"""CEL expressions over a request and its agent.

Every name is declared with its type, so a typo or a comparison of unlike things is refused when the policy is loaded.
An optional field that was not stated has no value: to use it is an evaluation error, and a rule that cannot be worked
out counts as matched. ``"confidence" in request.given && request.confidence < 0.5`` asks first. Texts that were not
stated are empty. Of metadata the types are known only when a request comes: see `misread`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from aegis_core.policy.case import Case
from aegis_core.policy.comparisons import compared_metadata
from aegis_core.policy.regexes import ExpressionError, compile_regex
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.messages import BYTES_PER_TOKEN

MAX_EXPRESSION = 1_000
MAX_MATCHES = 4

_FLOATS = ("estimated_cost_usd", "confidence")
_INTS = ("prompt_bytes", "prompt_tokens", "max_output_tokens", "min_output_tokens", "fence")
_TEXTS = ("target_resource", "session_id", "capability", "tool", "arguments_hash", "model", "task_type", "verify")
_OPTIONAL = (*_FLOATS, *_INTS, *_TEXTS)

Value = Callable[[Case], object]


def _given(case: Case) -> list[str]:
    return [name for name in _OPTIONAL if getattr(case.request, name) is not None]


def _float(name: str) -> Value:
    def value(case: Case) -> float | None:
        stated = getattr(case.request, name)
        return None if stated is None else float(stated)

    return value


def _int(name: str) -> Value:
    return lambda case: getattr(case.request, name)


def _prompt_bytes(case: Case) -> int | None:
    """Of a prompt that is given in tokens the bytes that would have the same bound, so that one rule sees both."""
    tokens = case.request.prompt_tokens
    return case.request.prompt_bytes if tokens is None else tokens * BYTES_PER_TOKEN


def _text(name: str) -> Value:
    return lambda case: getattr(case.request, name) or ""


_VALUES: dict[str, tuple[str, Value]] = {
    "request.agent_id": ("STRING", lambda case: case.request.agent_id),
    "request.task_intent": ("STRING", lambda case: case.request.task_intent),
    # As all rules read it: lower case, look-alikes folded.
    "request.intent": ("STRING", lambda case: case.searchable[-1].decode()),
    "request.resource_type": ("STRING", lambda case: case.request.resource_type),
    "request.priority": ("INT", lambda case: case.request.priority),
    "request.logic_density": ("INT", lambda case: case.request.logic_density),
    "request.lock_ttl_seconds": ("DOUBLE", lambda case: float(case.request.lock_ttl_seconds)),
    "request.given": ("LIST", _given),
    "request.metadata": ("MAP", lambda case: case.request.metadata),
    **{f"request.{name}": ("DOUBLE", _float(name)) for name in _FLOATS},
    **{f"request.{name}": ("INT", _int(name)) for name in _INTS},
    "request.prompt_bytes": ("INT", _prompt_bytes),
    **{f"request.{name}": ("STRING", _text(name)) for name in _TEXTS},
    "agent.agent_id": ("STRING", lambda case: case.facts.agent_id),
    "agent.framework": ("STRING", lambda case: case.facts.framework),
    "agent.capabilities": ("LIST", lambda case: list(case.facts.capabilities)),
    "agent.max_priority": ("INT", lambda case: case.facts.max_priority),
    "agent.labels": ("TEXTS", lambda case: dict(case.facts.labels)),
}
NAMES: dict[str, str] = {name: kind for name, (kind, _) in _VALUES.items()}
"""What an expression may name, and its type: lists are of texts, and maps are keyed by text; ``TEXTS`` holds texts."""

_LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_PIECE = re.compile(
    r"//[^\n]*+|[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+')"
    r"|[A-Za-z_]\w*+|\S",
    re.DOTALL,
)
_TEXT = re.compile(r"[rR]?[\"']")
_REPORT = re.compile(r"ERROR: [^:]*:(-?\d+):(-?\d+): ([^\n]*)")
_UNKNOWN = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '(.*?)' applied to '(.*)'")


class CompiledExpression:
    """An expression, ready to judge."""

    __slots__ = ("_compared", "_evaluate", "_names", "source")

    def __init__(self, source: str, evaluate: Callable[..., Any]) -> None:
        self.source, self._evaluate = source, evaluate
        # Converting a value costs as much as an evaluation, so only those that are named are bound.
        text = "".join(piece for piece, _ in _pieces(source))
        self._names = tuple((name, value) for name, (_, value) in _VALUES.items() if name in text)
        self._compared = compared_metadata(source)

    def misread(self, case: Case) -> str | None:
        """What is wrong where the answer hangs on text that is compared with a number, or the other way round.

        CEL takes unlike things for unequal and says nothing, so ``"250"`` would slip past ``== 250``.
        """
        stated = case.request.metadata
        unlike = [name for name, number in self._compared if _is_unlike(stated.get(name), number)]
        if not unlike:
            return None
        try:
            answer = self._value(case, {name: value for name, value in stated.items() if name not in unlike})
        except Exception:  # noqa: BLE001 - without them there is no answer
            answer = None
        if isinstance(answer, bool):
            return None
        kinds = ("text", "a number") if isinstance(stated[unlike[0]], str) else ("a number", "text")
        return f"metadata.{unlike[0]} is {kinds[0]} and is compared with {kinds[1]}"

    def holds(self, case: Case) -> bool:
        """True unless the expression is plainly false."""
        try:
            return self._value(case) is not False
        except Exception:  # noqa: BLE001 - whatever goes wrong in there, an unanswered question counts as matched
            return True

    def account(self, case: Case) -> str:
        """What it evaluates to, in words."""
        if problem := self.misread(case):
            return f"{self.source} cannot be worked out ({problem})"
        try:
            value = self._value(case)
        except Exception as error:  # noqa: BLE001 - as above
            value = str(error)
        if isinstance(value, bool):
            return f"{self.source} is {'true' if value else 'false'}"
        problem = re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", str(value).split("\n", 1)[0])
        return f"{self.source} cannot be worked out ({problem})"

    def _value(self, case: Case, metadata: dict[str, Scalar] | None = None) -> object:
        bound = {name: found for name, value in self._names if (found := value(case)) is not None}
        if metadata is not None:
            bound["request.metadata"] = metadata
        return self._evaluate(data=bound).value()


def _is_unlike(value: Scalar, number: bool) -> bool:
    return isinstance(value, str) if number else isinstance(value, int | float) and not isinstance(value, bool)


@lru_cache(1_024)
def compile_expression(source: str) -> CompiledExpression:
    """Check and compile an expression.

    Raises:
        ExpressionError: what is wrong with it, and the column.
    """
    _refuse_costly(source)
    try:
        compiled = _environment().compile(source)
    except RuntimeError as error:
        raise _worded(str(error)) from None
    kind = compiled.return_type().name()
    if kind != "BOOL":
        raise ExpressionError(f"must be true or false, but is of type {kind.lower()}", column=1)
    return CompiledExpression(source, compiled.eval)


@cache
def _environment() -> Any:
    try:
        cel = import_module("cel_expr_python.cel")
    except ImportError:
        raise ExpressionError(
            f"needs the package cel-expr-python, which is not installed: {installing('conditions')}"
        ) from None
    kinds = {
        "STRING": cel.Type.STRING,
        "INT": cel.Type.INT,
        "DOUBLE": cel.Type.DOUBLE,
        "LIST": cel.Type.List(cel.Type.STRING),
        "MAP": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
        "TEXTS": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    }
    return cel.NewEnv(variables={name: kinds[kind] for name, kind in NAMES.items()})


def _refuse_costly(source: str) -> None:
    """Bound what an expression can cost beyond CEL's own limits on depth and on the turns of a loop."""
    pieces = _pieces(source)
    loops = [at for piece, at in pieces if piece in _LOOPS]
    matches = [place for place, (piece, _) in enumerate(pieces) if piece == "matches"]
    if len(loops) > 1:
        raise _at(source, loops[1], "only one of all, exists, exists_one, map and filter may be used")
    if matches and loops:
        raise _at(source, pieces[matches[0]][1], "matches cannot be used together with all, exists, map or filter")
    if len(matches) > MAX_MATCHES:
        raise _at(source, pieces[matches[MAX_MATCHES]][1], f"matches may be used {MAX_MATCHES} times at most")
    for place in matches:
        pattern, at = _pattern_of(pieces, place)
        if pattern is None:
            raise _at(source, at, "the pattern of matches must be a text, not worked out")
        try:
            compile_regex(_environment().compile(pattern).eval(data={}).value())
        except ExpressionError as error:
            raise _at(source, at, str(error).split(": ", 1)[-1]) from None
        except RuntimeError as error:
            raise _worded(str(error)) from None


def _pieces(source: str) -> list[tuple[str, int]]:
    """Names, texts and signs with their places, without comments."""
    return [(match[0], match.start()) for match in _PIECE.finditer(source) if not match[0].startswith("//")]


def _pattern_of(pieces: list[tuple[str, int]], place: int) -> tuple[str | None, int]:
    """The only or last argument of the call at a place of the pieces, if it is a single text; and where it is."""
    depth, last, at = 0, list[str](), pieces[place][1]
    for piece, start in pieces[place + 1 :]:
        depth += (piece in "([{") - (piece in ")]}")
        if depth == 0:
            break
        if depth == 1 and piece in "(,":
            last, at = [], start + 1
        else:
            at = at if last else start
            last.append(piece)
    return (last[0] if len(last) == 1 and _TEXT.match(last[0]) else None), at


def _at(source: str, place: int, problem: str, nearest: str | None = None) -> ExpressionError:
    before = source[:place]
    line = before.count("\n") + 1
    return ExpressionError(problem, line=line, column=place - (before.rfind("\n") + 1) + 1, nearest=nearest)


def _worded(report: str) -> ExpressionError:
    """The first complaint of CEL in our words, at the start of the name where it is about one."""
    found = _REPORT.search(report)
    if found is None or int(found[1]) < 1:
        return ExpressionError("is nested too deeply" if "recursion" in report else report.split("\n", 1)[0][:200])
    line, column, problem = int(found[1]), int(found[2]), found[3]
    nearest = None
    if unknown := _UNKNOWN.search(problem):
        name = unknown[1]
        nearest = next(iter(get_close_matches(name, NAMES, 1)), None)
        column = max(1, column - max(name.rfind("."), 0))
        problem = f'unknown name "{name}"'
    elif overload := _OVERLOAD.search(problem):
        operator = overload[1].replace("_", "") if overload[1].startswith(("_", "@", "!")) else overload[1]
        problem = f"{operator} cannot be applied to {overload[2]}"
        if "double" in overload[2] and "int" in overload[2]:
            problem += "; write 3.0 for a whole number"
    elif problem.startswith("Syntax error"):
        problem = problem.split(" expecting ", 1)[0].removeprefix("Syntax error: ").replace("'<EOF>'", "the end")
    return ExpressionError(problem, line=line, column=column, nearest=nearest)


def _checked(value: str) -> str:
    compile_expression(value)
    return value


Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION), AfterValidator(_checked)]
