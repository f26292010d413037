"""How often `Any` stands where a type could: counted, so that it does not come back."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = {"aegis_core": 20.0, "integrations": 80.0}
"""`Any` for each thousand lines of code. Frameworks hand much to adapters without a type."""

_IN_TEXT = re.compile(r"(?<![\w.])Any(?=[\],|]|$)")
"""In a type that is written as text."""
_IDLE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def documentation(tree: ast.Module) -> set[int]:
    """The lines of texts that stand alone: documentation of modules, classes, functions and fields."""
    lines: set[int] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str):
            lines |= set(range(each.lineno, (each.end_lineno or each.lineno) + 1))
    return lines


def counted(file: Path) -> tuple[int, int]:
    """How often `Any` is used in a file, and its lines of code."""
    told = documentation(ast.parse(file.read_text()))
    lines: set[int] = set()
    found, statement = 0, ""
    with file.open() as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in _IDLE:
                statement = "" if token.type == tokenize.NEWLINE else statement
                continue
            statement = statement or token.string
            if token.start[0] in told and token.type == tokenize.STRING:
                continue
            lines |= set(range(token.start[0], token.end[0] + 1))
            if statement in {"from", "import"}:
                continue
            if token.type == tokenize.STRING:
                found += len(_IN_TEXT.findall(token.string.strip("\"'")))
            else:
                found += token.type == tokenize.NAME and token.string == "Any"
    return found, len(lines)


def aliases(file: Path) -> Iterator[str]:
    """Other names for `Any`, which would hide it from the count."""
    for each in ast.walk(ast.parse(file.read_text())):
        if isinstance(each, ast.ImportFrom) and any(name.name == "Any" and name.asname for name in each.names):
            yield f"{file}:{each.lineno}"
        value = each.value if isinstance(each, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Name) and value.id == "Any":
            yield f"{file}:{value.lineno}"


def test_what_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text(
        '"""Any module."""\n\nfrom typing import (\n    Any,\n    cast,\n)\n\n\n'
        'def f(a: Any, b: "list[Any]") -> dict[str, Any]:\n'
        '    """Any function\n\n    of Any."""  # Any\n    print("Any word is no type")\n    return cast("Any", a)\n'
    )
    assert counted(file) == (4, 7)
    assert not list(aliases(file))
    file.write_text("from typing import Any\nfrom typing import Any as It\n\nThing = Any\nOther: object = Any\n")
    assert len(list(aliases(file))) == 3


@pytest.mark.parametrize("package", MOST)
def test_any_is_rare(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    found = {file.relative_to(ROOT).as_posix(): counted(file) for file in files}
    used, lines = (sum(each[place] for each in found.values()) for place in (0, 1))
    most = sorted(((each[0], name) for name, each in found.items()), reverse=True)[:8]
    assert 1000 * used / lines <= MOST[package], f"{used} in {lines:,} lines; most of them in {most}"
    assert [place for file in files for place in aliases(file)] == []
