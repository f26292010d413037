"""docs/adapters.md names the ranges of versions that the extras allow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text()


def rows() -> list[tuple[str, ...]]:
    section = PAGE.split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def test_the_ranges_are_those_of_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for _, names, _, tested in rows():
        for extra in re.findall(r"`(\w+)`", names):
            found = {re.sub(r";.*", "", each).strip() for each in extras[extra]}
            said = {
                f"{name}>={low},<{high}" for name, low, high in re.findall(r"`([\w-]+)` ≥ ([\d.]+), < ([\d.]+)", tested)
            }
            assert said & found, (extra, said, found)
