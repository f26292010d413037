"""The lines of docs/proxy-clients.md do what they say: a program with them is governed, and charged what is billed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fetching import SDKS
from stands import PROVIDER_KEY, Stand, charged, estimated

from aegis_core.governor.proxy_keys import ProxyKey

PAGE = (Path(__file__).parents[2] / "docs" / "proxy-clients.md").read_text()
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r"^from (\w+)", re.MULTILINE)


def programs() -> list[object]:
    """Each program of the page, with what its section says of the environment."""
    _, *parts = _SECTION.split(PAGE)
    found: list[object] = []
    for name, section in zip(parts[::2], parts[1::2], strict=True):
        blocks = _BLOCK.findall(section)
        exports = [line for block in blocks for line in block.splitlines() if line.startswith("export ")]
        said = dict(each.split("=", 1) for line in exports for each in shlex.split(line)[1:])
        codes = [block for block in blocks if block.startswith("from ")]
        for number, code in enumerate(codes):  # one program shows that a framework is governed, the others are deep
            marks = [pytest.mark.deep] if name == "LangChain" and number else []
            found.append(pytest.param(code, said, id=f"{name}-{number}", marks=marks))
    return found


def run(code: str, said: dict[str, str], stand: Stand, key: ProxyKey, home: Path) -> subprocess.CompletedProcess[str]:
    """A program with the key in the place of ``KEY``, in an environment that has its packages."""
    (package,) = _IMPORT.findall(code)
    here = importlib.util.find_spec(package) is not None
    python = sys.executable if here else SDKS.path() / "bin" / "python"

    def filled(text: str) -> str:
        return text.replace("http://localhost:8080", stand.url).replace("KEY", key.secret or "")

    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched
    environment |= {name: filled(value) for name, value in said.items()}
    command = [python, "-W", "ignore", "-c", filled(code)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("code", "said"), programs())
def test_a_program_with_these_lines_is_governed(stand: Stand, tmp_path: Path, code: str, said: dict[str, str]) -> None:
    key = stand.key()
    done = run(code, said, stand, key, tmp_path)
    assert (done.returncode, done.stdout) == (0, "Four score and seven\n"), done.stderr
    (asked,) = stand.provider.asked
    assert PROVIDER_KEY in str(asked.headers)
    assert (key.secret or "") not in str(asked.headers)
    ends = stand.ended(key.terms.agent_id)
    assert (estimated(ends), charged(ends)) == ([False], stand.provider.billed_usd)


@pytest.mark.deep
@pytest.mark.parametrize(("code", "said"), programs())
def test_a_program_that_is_refused_says_so_after_one_request(
    stand: Stand, arrived: list[bytes], tmp_path: Path, code: str, said: dict[str, str]
) -> None:
    key = stand.key(budget="0.000001", min_output_tokens=1)
    done = run(code, said, stand, key, tmp_path)
    assert done.returncode == 1
    assert "Aegis refused this call of" in done.stderr
    assert (len(arrived), stand.provider.asked) == (1, [])


def test_every_client_has_a_section_with_its_lines() -> None:
    overview = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()
    names = _SECTION.findall(PAGE)
    assert [
        name
        for name in names
        if f"proxy-clients.md#{name.lower().replace(chr(39), '').replace(' ', '-')}" not in overview
    ] == []
    _, *parts = _SECTION.split(PAGE)
    for name, section in zip(parts[::2], parts[1::2], strict=True):
        assert "http://localhost:8080" in section, name
        assert "KEY" in section, name
