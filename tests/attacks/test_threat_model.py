"""The threat model names every test of an attack, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "threat-model.md"


def written() -> set[str]:
    found: set[str] = set()
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for path in HERE.glob("test_*.py"):
        if path != Path(__file__):
            names = (node.name for node in ast.parse(path.read_text()).body if isinstance(node, functions))
            found |= {f"{path.name}::{name}" for name in names if name.startswith("test_")}
    return found


def test_every_attack_is_in_the_threat_model_and_every_test_named_there_exists() -> None:
    named = set(re.findall(r"`(test_\w+\.py::test_\w+)`", PAGE.read_text()))
    assert named == written()
