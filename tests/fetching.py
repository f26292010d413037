"""Fetches what tests need of a package index before they run: ``make test`` starts this, and no test downloads a thing.

Usage: python tests/fetching.py [deep], the second for ``make test-deep``, whose agents are another gigabyte

Where something cannot be had this says so and goes on. The tests that need it are then skipped for that reason; in
continuous integration they fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".venv-fetched"
DECLARED: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
UV = str(Path(sys.executable).with_name("uv"))


class UnreachableError(Exception):
    """Something could not be fetched; the text says why."""


@dataclass(frozen=True)
class Fetched:
    """A folder that is filled once for each state of what it is made of."""

    what: str
    folder: Path
    made_of: object
    fill: Callable[[Path], None]

    def path(self) -> Path:
        """The folder, for a test, which ends here where it was not filled."""
        if not self._is_there():
            how = "make fetched-deep" if self in AGENTS.values() else "make fetched"
            said = f"{self.what}: not fetched; `{how}` does it, and needs a package index"
            if os.environ.get("CI"):
                pytest.fail(said)
            pytest.skip(said)
        return self.folder

    def fetch(self) -> str:
        """Fill it, if it is not. The answer is empty, or why that could not be done."""
        if self._is_there():
            return ""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            self.fill(self.folder)
        except UnreachableError as error:
            end = "\n".join(str(error).splitlines()[-3:])
            return f"{self.what}: not fetched, so the tests that need it are skipped.\n{end}"
        self._mark.write_text(self._state)
        return ""

    def _is_there(self) -> bool:
        return self._mark.is_file() and self._mark.read_text() == self._state

    @property
    def _mark(self) -> Path:
        return self.folder / "made-of"

    @property
    def _state(self) -> str:
        return sha256(repr((self.made_of, sys.version)).encode()).hexdigest()


def copy_of_checkout(to: Path) -> Path:
    """What git knows of the checkout, and what it would take in: a build there leaves nothing here."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():  # a deleted file is still listed
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


# Hatchling asks for `editables` while it builds, when a checkout is installed in place.
NEEDED = [*DECLARED["build-system"]["requires"], *DECLARED["project"]["dependencies"], "editables>=0.3,<1"]


def _wheels(folder: Path) -> None:
    """For pip and uv the wheels of the core and of its build; for ``uv sync`` a warm cache, as it locks every extra."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "3"]
    _run([*pip, "--only-binary", ":all:", "--dest", str(folder), *NEEDED])
    with tempfile.TemporaryDirectory(prefix="aegis-") as scratch:
        try:
            _run([UV, "sync", "--quiet", "--system-certs", "--python", sys.executable], copy_of_checkout(Path(scratch)))
        except UnreachableError as error:
            if "No solution found" not in str(error):  # that is for the test to say
                raise
    (folder / "uv-cache").write_text(_run([UV, "cache", "dir"]).strip())


LEDGER, LEDGER_VERSION = "agent-budget-semantics", "0.5.0"
LEDGER_SHA256 = "f44c1589ebf74b00ead657952df5e8668829dafc3b1cbe052876d43269b21964"


def _ledger(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "3"]
    with tempfile.TemporaryDirectory(prefix="aegis-") as scratch:
        _run([*pip, "--no-deps", "--no-binary", ":all:", "--dest", scratch, f"{LEDGER}=={LEDGER_VERSION}"])
        (archive,) = Path(scratch).glob("*.tar.gz")
        if sha256(archive.read_bytes()).hexdigest() != LEDGER_SHA256:
            raise UnreachableError(f"What the index has as {LEDGER} {LEDGER_VERSION} is another file.")
        with tarfile.open(archive) as packed:
            packed.extractall(scratch, filter="data")
        (unpacked,) = (path for path in Path(scratch).iterdir() if path.is_dir())
        shutil.copytree(unpacked, folder, dirs_exist_ok=True)


PYAUTOGEN_BELOW = (3, 13)
"""`pyautogen` 0.2 needs an older Python than this."""
PYAUTOGEN_TOOLS = ("hypothesis>=6.150", "pytest>=9", "pytest-asyncio>=1.3", "pytest-timeout>=2.4", "pyyaml>=6")


def _pyautogen(folder: Path) -> None:
    # `venv` would refuse a folder that is there without being one.
    _run([UV, "venv", "--quiet", "--system-certs", "--seed", "--clear", "--python", sys.executable, str(folder)])
    into = [UV, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python")]
    _run([*into, "--editable", f"{ROOT}[pyautogen]", *PYAUTOGEN_TOOLS])


SDKS_PINNED = ("openai-agents==0.24.0", "pydantic-ai-slim[openai]==2.66.0", "litellm==1.110.2")


def _sdks(folder: Path) -> None:
    _run([UV, "venv", "--quiet", "--system-certs", "--clear", "--python", sys.executable, str(folder)])
    into = [UV, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python")]
    _run([*into, *SDKS_PINNED])


WEB3_PINNED = "web3==8.0.0"


def _web3(folder: Path) -> None:
    _run([UV, "venv", "--quiet", "--system-certs", "--clear", "--python", sys.executable, str(folder)])
    into = [UV, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python")]
    _run([*into, "--editable", f"{ROOT}[chains]", WEB3_PINNED])


JAVASCRIPT_PINNED = (
    "openai@7.59.0", "@anthropic-ai/sdk@1.14.0", "@google/genai@3.3.0", "ai@7.0.173", "@ai-sdk/openai@4.0.118",
    "@ai-sdk/anthropic@4.0.105", "@ai-sdk/google@4.0.121",
)  # fmt: skip


def _javascript(folder: Path) -> None:
    _npm_install(folder, *JAVASCRIPT_PINNED)


def _npm_install(folder: Path, *packages: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnreachableError("npm is not installed.")
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix", str(folder)]
    _run([npm, "install", *options, *packages])


AGENTS_PINNED = {
    "claude-code": "@anthropic-ai/claude-code@2.1.332", "codex": "@openai/codex@0.171.0",
    "gemini-cli": "@google/gemini-cli@0.61.0", "opencode": "opencode-ai@1.18.33",
}  # fmt: skip


AIDER_PINNED = "aider-chat==0.86.2"


def _aider(folder: Path) -> None:
    _run([UV, "venv", "--quiet", "--system-certs", "--clear", "--python", sys.executable, str(folder)])
    _run([UV, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python"), AIDER_PINNED])


def _agent(package: str) -> Callable[[Path], None]:
    return lambda folder: _npm_install(folder, package)


ANVIL_VERSION = "1.7.1"


def _anvil(folder: Path) -> None:
    _npm_install(folder, f"@foundry-rs/anvil@{ANVIL_VERSION}")
    found = [*folder.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")]
    if not found:
        raise UnreachableError(f"The package @foundry-rs/anvil {ANVIL_VERSION} has no program for this machine.")
    (folder / "anvil").symlink_to(found[0])


SUI_PINNED = ("sui-1@npm:@mysten/sui@1.45.2", "sui-2@npm:@mysten/sui@2.33.1")


def _sui(folder: Path) -> None:
    _npm_install(folder, *SUI_PINNED)


SOLANA_PINNED = "solana==0.41.0"


def _solana(folder: Path) -> None:
    _run([UV, "venv", "--quiet", "--system-certs", "--clear", "--python", sys.executable, str(folder)])
    into = [UV, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python")]
    _run([*into, "--editable", f"{ROOT}[chains]", SOLANA_PINNED])


SOLC_VERSION = "0.8.37"
CONTRACTS_SOURCE = ROOT / "tests" / "chains" / "contracts" / "Trading.sol"


def _contracts(folder: Path) -> None:
    _npm_install(folder, f"solc@{SOLC_VERSION}")
    compiler = folder / "node_modules" / "solc" / "solc.js"
    options = ["--bin", "--optimize", "--base-path", str(CONTRACTS_SOURCE.parent), "--output-dir", str(folder)]
    _run(["node", str(compiler), *options, str(CONTRACTS_SOURCE)])


def _run(command: list[str], folder: Path = ROOT) -> str:
    foreign = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")  # the developer's own environment is not what is made here
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnreachableError(done.stderr.strip())
    return done.stdout


def _declared(*tables: str) -> str:
    return json.dumps([DECLARED[name] for name in tables])


WHEELS = Fetched(
    "wheels for installs", HOME / "wheels", (_declared("project"), DECLARED["tool"]["uv"], NEEDED), _wheels
)
THIRD_PARTY = Fetched(f"{LEDGER} {LEDGER_VERSION}", HOME / LEDGER, LEDGER_SHA256, _ledger)
PYAUTOGEN = Fetched(
    "an environment with pyautogen",
    ROOT / ".venv-pyautogen",
    (_declared("build-system", "project"), PYAUTOGEN_TOOLS, str(ROOT)),
    _pyautogen,
)
"""`pyautogen` 0.2 writes the same package as `autogen` 0.14 and cannot stand beside it."""

ANVIL = Fetched(f"anvil {ANVIL_VERSION}, a chain for tests", HOME / "anvil", ANVIL_VERSION, _anvil)


CONTRACTS = Fetched(
    f"contracts for tests, compiled by solc {SOLC_VERSION}",
    HOME / "contracts",
    (SOLC_VERSION, CONTRACTS_SOURCE.read_text()),
    _contracts,
)
"""A file with the code of each, such as ``Trading_sol_Token.bin``."""


SUI = Fetched("the two schemas of Sui, and its SDK", HOME / "sui", SUI_PINNED, _sui)


SDKS = Fetched("an environment with SDKs that need a newer `openai`", HOME / "sdks", SDKS_PINNED, _sdks)
"""Clients of the proxy, which the adapters' frameworks cannot stand beside."""


JAVASCRIPT = Fetched("SDKs for JavaScript", HOME / "javascript", JAVASCRIPT_PINNED, _javascript)


WEB3 = Fetched(
    "an environment with web3.py", HOME / "web3", (_declared("build-system", "project"), WEB3_PINNED, str(ROOT)), _web3
)
"""A guest of its layer, which nothing of Aegis needs."""


SOLANA = Fetched(
    "an environment with solana-py", HOME / "solana", (_declared("build-system", "project"), SOLANA_PINNED, str(ROOT)),
    _solana,
)  # fmt: skip
"""A guest of its wrapper, which the adapters' frameworks cannot stand beside."""


AGENTS = {
    name: Fetched(f"{name}, an agent that asks through the proxy", HOME / name, package, _agent(package))
    for name, package in AGENTS_PINNED.items()
}
AGENTS["aider"] = Fetched("aider, an agent that asks through the proxy", HOME / "aider", AIDER_PINNED, _aider)


def main() -> None:
    everything = [WHEELS, THIRD_PARTY, ANVIL, CONTRACTS, SUI, SOLANA, SDKS, WEB3, JAVASCRIPT]
    if sys.argv[1:] == ["deep"]:
        everything += AGENTS.values()
    if sys.version_info < PYAUTOGEN_BELOW:
        everything.append(PYAUTOGEN)
    with ThreadPoolExecutor() as pool:
        for said in filter(None, pool.map(Fetched.fetch, everything)):
            print(said, file=sys.stderr)


if __name__ == "__main__":
    main()
