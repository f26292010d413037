"""Every way to install a checkout that people use, for real and without a network: the wheels were fetched before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from fetching import DECLARED, ROOT, UV, WHEELS, copy_of_checkout

pytestmark = pytest.mark.timeout(300)

ADAPTERS = {
    "aegis_langchain": "langchain",
    "aegis_langgraph": "langgraph",
    "aegis_crewai": "crewai",
    "aegis_autogen": "autogen",
}
PACKAGES = {"aegis_core", "aegis_solana", "aegis_web3", *ADAPTERS}
FROM_WHEELS = ("--offline", "--no-index", "--find-links")

USES = """
import aegis_core
from importlib.metadata import version
assert version("aegis-governor") == "0.1.0"
for name, use in {
    "aegis_langchain": "import aegis_langchain",
    "aegis_langgraph": "import aegis_langgraph",
    "aegis_crewai": "from aegis_crewai import govern_crew",
    "aegis_autogen": "from aegis_autogen import register_governor",
}.items():
    try:
        exec(use)
    except aegis_core.ConfigurationError as error:
        print(name, error.message)
"""
"""None of the frameworks is installed, so each adapter is found and says what it needs."""


@pytest.fixture(scope="module")
def wheels() -> str:
    return str(WHEELS.path())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_of_checkout(tmp_path / "checkout")


@pytest.fixture
def environment(tmp_path: Path, wheels: str) -> dict[str, str]:
    """A bare home, no settings of the developer's, and nothing but the wheels that were fetched."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "AEGIS_DATA_DIR": str(tmp_path / "data"),
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels, "PIP_NO_COMPILE": "1",
        "UV_CACHE_DIR": (Path(wheels) / "uv-cache").read_text(), "UV_PYTHON_DOWNLOADS": "never",
    }  # fmt: skip


def ran(command: list[str | Path], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def works(python: Path, folder: Path, environment: dict[str, str]) -> None:
    """The core and the adapters are found, from any folder, and each adapter names its extra in one sentence."""
    said = ran([python, "-c", USES], folder, environment).splitlines()
    assert [line.split()[0] for line in said] == list(ADAPTERS)
    for line, (adapter, extra) in zip(said, ADAPTERS.items(), strict=True):
        assert re.search(
            rf"^{adapter} aegis\S+ needs a framework that is not installed: .*\[{extra}\]' in a checkout of Aegis$",
            line,
        ), line
    assert "aegis" in ran([python.with_name("aegis"), "--help"], folder, environment)


def resolves(python: Path, folder: Path, environment: dict[str, str]) -> None:
    """A type checker finds the packages and their types in this environment."""
    (folder / "uses.py").write_text("".join(f"import {name}\nprint({name})\n" for name in sorted(PACKAGES)))
    (folder / "pyrightconfig.json").write_text("{}")
    pyright = [Path(sys.executable).with_name("pyright"), "--outputjson", "--pythonpath", python, "uses.py"]
    assert json.loads(ran(pyright, folder, environment))["summary"]["errorCount"] == 0


def made(home: Path, environment: dict[str, str]) -> Path:
    """A new environment's Python."""
    ran([UV, "venv", "--quiet", "--offline", "--python", sys.executable, home], home.parent, environment)
    return home / "bin" / "python"


@pytest.mark.deep  # daily: the same checkout and wheel by uv, which takes a fifth of the time
def test_pip_installs_a_checkout_in_place_and_from_a_copy(
    checkout: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    ran([sys.executable, "-m", "venv", "own"], tmp_path, environment)
    python = tmp_path / "own" / "bin" / "python"
    ran([python, "-m", "pip", "install", "-e", "."], checkout, environment)
    works(python, tmp_path, environment)
    ran([python, "-m", "pip", "install", "--no-deps", "."], checkout, environment)
    works(python, tmp_path, environment)
    found = ran([python, "-c", "import aegis_core, aegis_crewai; print(aegis_core.__file__)"], tmp_path, environment)
    assert not found.startswith(str(checkout))


def test_uv_installs_a_checkout_in_place_and_pyright_finds_all_of_it(
    checkout: Path, tmp_path: Path, environment: dict[str, str], wheels: str
) -> None:
    python = made(tmp_path / "own", environment)
    ran([UV, "pip", "install", "--python", python, *FROM_WHEELS, wheels, "-e", "."], checkout, environment)
    works(python, tmp_path, environment)
    resolves(python, tmp_path, environment)


def test_uv_syncs_a_checkout_and_runs_its_commands(checkout: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """It locks every extra first, and finds a solution."""
    ran([UV, "sync", "--offline", "--python", sys.executable], checkout, environment)
    assert (checkout / "uv.lock").is_file()
    works(checkout / ".venv" / "bin" / "python", tmp_path, environment)
    said = ran([UV, "run", "--offline", "aegis", "doctor"], checkout, environment)
    assert re.search(r"^✓ server +valkey", said, re.MULTILINE), said
    assert (tmp_path / "data").is_dir()


def test_the_built_packages_hold_the_six_and_install_anywhere(
    checkout: Path, tmp_path: Path, environment: dict[str, str], wheels: str
) -> None:
    ran([UV, "build", "--quiet", *FROM_WHEELS, wheels, "--out-dir", tmp_path / "dist"], checkout, environment)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    names = ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    python = made(tmp_path / "of-wheel", environment)
    ran([UV, "pip", "install", "--python", python, *FROM_WHEELS, wheels, wheel], tmp_path, environment)
    works(python, tmp_path, environment)
    resolves(python, tmp_path, environment)
    python = made(tmp_path / "of-sdist", environment)
    ran([UV, "pip", "install", "--python", python, *FROM_WHEELS, wheels, sdist], tmp_path, environment)
    works(python, tmp_path, environment)


def test_adapters_have_one_name_each() -> None:
    """A class of ``integrations.aegis_crewai`` would be another than that of ``aegis_crewai``."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    folders = ("aegis_core", "integrations", "examples", "benchmarks", "tests")
    other = re.compile(r"^\s*(?:from|import) integrations(?:\.| import )aegis_", re.MULTILINE)
    for path in [*pages, *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]:
        assert not other.search(path.read_text()), path


def test_an_old_python_is_refused_in_one_sentence_before_anything_is_installed(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -c ] && echo 3.9.2 && exit 1\ntouch "$0.used"\n')
    old.chmod(0o755)
    command = ["make", "--no-print-directory", "test", f"PYTHON={old}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = f"Aegis needs Python 3.11 or newer; {old} is 3.9.2. Name another with make PYTHON=python3.12."
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()
    assert not old.with_name("python3.9.used").exists()
    assert DECLARED["project"]["requires-python"] == ">=3.11"
