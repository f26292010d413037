"""Each half of the AutoGen adapter needs its own framework only."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import aegis_autogen", ("autogen", "autogen_core")),
        ("from aegis_autogen import register_governor", ("autogen_core", "langchain_core", "crewai")),
        ("import aegis_autogen.agentchat", ("autogen", "langchain_core", "crewai")),
    ],
)
def test_it_loads_no_other_framework(statement: str, absent: tuple[str, ...]) -> None:
    assert run(f"{statement}; import sys; print([name for name in {absent!r} if name in sys.modules])") == "[]"


def test_a_package_of_that_name_without_the_agent_is_no_framework() -> None:
    """Later distributions called pyautogen or ag2 have none."""
    code = (
        "import sys, types; sys.modules['autogen'] = types.ModuleType('autogen')\n"
        "try:\n    from aegis_autogen import register_governor\nexcept Exception as error: print(error)"
    )
    assert "pip install 'aegis-governor[autogen]'" in run(code)
