"""CONTRIBUTING.md's map and words are those of the package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "aegis_core"
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def rows(heading: str) -> list[tuple[str, str]]:
    """The rows of the table under a heading: the first cell, and the second."""
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.+?) \| (.+) \|$", part, re.MULTILINE)
    return [row for row in found[1:] if not set(row[0]) <= {"-"}]


def on_the_map() -> list[str]:
    return [name for cell, _ in rows("Where a line belongs") for name in re.findall(r"`([^`]+)`", cell)]


def layers() -> list[list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [re.split(r" *[|:] *", layer) for layer in contracts[0]["layers"]]


def test_the_map_names_every_room_once_and_nothing_else() -> None:
    packages = {f"{path.parent.name}/" for path in CORE.glob("*/__init__.py")}
    modules = {path.name for path in CORE.glob("*.py")} - {"__init__.py"}
    assert sorted(on_the_map()) == sorted(packages | modules)


def test_the_map_goes_down_as_imports_do() -> None:
    floors = {name: floor for floor, layer in enumerate(layers()) for name in layer}
    order = [floors[name.removesuffix("/").removesuffix(".py")] for name in on_the_map()]
    assert order == sorted(order)


def paths() -> Iterator[str]:
    """The files and folders that the prose names, which the examples need not."""
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    for name in re.findall(r"`([\w./]+)`", prose):
        if "/" in name or name.endswith(".py"):
            yield name


def test_what_the_page_names_is_there() -> None:
    rooms = [ROOT, CORE, *(path.parent for path in CORE.glob("*/__init__.py"))]
    assert [name for name in paths() if not any((room / name).exists() for room in rooms)] == []


def test_each_word_has_one_meaning() -> None:
    words = [word for word, _ in rows("Words")]
    assert len(words) > 30
    assert len(words) == len(set(words))
