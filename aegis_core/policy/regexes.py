"""Regular expressions of policies, by RE2: its time grows with the length of the text, whatever the pattern says."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, Protocol, cast

from pydantic import AfterValidator, Field

MAX_REGEX = 500
MAX_PROGRAM = 2_000
"""Steps of a compiled pattern. RE2's time is at worst the text's length times this."""

_MEMORY = 1 << 20


class Regex(Protocol):
    """A compiled pattern; it reads UTF-8, so that a text is encoded once for all of them."""

    def search(self, text: bytes, /) -> object | None:
        """Something where the pattern occurs, else None."""
        ...


class ExpressionError(ValueError):
    """An expression that cannot be used. `column` (from 1) is where it goes wrong, if that is known."""

    def __init__(self, problem: str, *, line: int = 1, column: int | None = None, nearest: str | None = None) -> None:
        place = "" if column is None else f"column {column}: " if line == 1 else f"line {line}, column {column}: "
        super().__init__(place + problem)
        self.column, self.nearest = column, nearest


@lru_cache(1_024)
def compile_regex(source: str) -> Regex:
    """Compile a pattern, which matches in any case.

    Raises:
        ExpressionError: what RE2 does not accept, and the column where it stands.
    """
    re2 = _library()
    options = re2.Options()
    options.max_mem, options.case_sensitive, options.never_capture, options.log_errors = _MEMORY, False, True, False
    try:
        compiled = re2.compile(source.encode(), options)
    except UnicodeEncodeError:
        raise ExpressionError("holds a lone surrogate, which is not text") from None
    except re2.error as error:
        raise _refused(source, cast("bytes", error.args[0]).decode(errors="replace")) from None
    if compiled.programsize > MAX_PROGRAM:
        raise ExpressionError(f"compiles to {compiled.programsize:,} steps; at most {MAX_PROGRAM:,} are accepted")
    return cast("Regex", compiled)


def _refused(source: str, problem: str) -> ExpressionError:
    """RE2 quotes the offending piece; where the piece is the whole rest, what is missing is missing at the end."""
    problem, _, piece = problem.partition(": ")
    at = source.rfind(piece) if piece else len(source) - 1
    if problem.startswith("missing"):
        at = len(source)
    elif problem.startswith("unexpected"):
        at = _unopened(source)
    hint = " (RE2 has no look-around and no back-references)" if "perl" in problem or piece[1:].isdigit() else ""
    shown = f" {piece}" if piece and len(piece) <= 40 and piece != source else ""
    return ExpressionError(f"{problem}{shown}{hint}", column=at + 1 if at >= 0 else None)


def _unopened(source: str) -> int:
    """The place of the first parenthesis that closes nothing."""
    depth, escaped = 0, False
    for at, char in enumerate(source):
        depth += 0 if escaped else (char == "(") - (char == ")")
        escaped = char == "\\" and not escaped
        if depth < 0:
            return at
    return -1


def _library() -> Any:
    try:
        return import_module("re2")
    except ImportError:
        raise ExpressionError("regexes need the package google-re2: pip install google-re2") from None


def _checked(value: str) -> str:
    compile_regex(value)
    return value


RegexText = Annotated[str, Field(min_length=1, max_length=MAX_REGEX), AfterValidator(_checked)]
Regexes = Annotated[tuple[RegexText, ...], Field(min_length=1)]
