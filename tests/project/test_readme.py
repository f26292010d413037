"""Every code block of the README and the docs does what it says.

Those that load a framework do so every day in `tests/integrations/test_pages.py`, whose process has loaded it already.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import free_port
from warm import Warm

from aegis_core.protocol import distribution
from tests.project.pages import ADAPTER, BLOCK, PAGES, ROOT, blocks, calls_a_provider

pytestmark = pytest.mark.timeout(600)  # a framework takes a quarter of a minute to load where nothing else runs


def of(language: str, *, online: bool = False) -> list[object]:
    """Blocks of a language; `online`: those that call a provider, or the others. What loads a framework is deep."""
    return [
        pytest.param(code, id=place, marks=[pytest.mark.deep] if language == "python" and ADAPTER.search(code) else [])
        for place, code in blocks(language)
        if calls_a_provider(place, code) == online
    ]


@pytest.fixture
def environment(tmp_path: Path, warm: Warm) -> dict[str, str]:
    """A bare home, the project's commands on the path, and an embedded server of the test's own."""
    path = os.pathsep.join((str(warm.commands), str(Path(sys.executable).parent), os.environ["PATH"]))
    place = {"AEGIS_DATA_DIR": str(tmp_path / "data"), "AEGIS_TIMEZONE": os.environ["AEGIS_TIMEZONE"]}
    quiet = {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}  # else its end waits for the network
    return {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8", **place, **quiet}


@pytest.fixture
def api(environment: dict[str, str]) -> Iterator[str]:
    """The server as the README starts it, on a free port."""
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", port]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/ready", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server did not start in time"
                time.sleep(0.05)
        yield port
        server.terminate()


def ran(command: list[str | Path], environment: dict[str, str], text: str | None = None, longest: float = 400) -> str:
    """What a command prints, in the folder of the project; it must succeed."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, input=text, capture_output=True, text=True, timeout=longest, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(script: str, environment: dict[str, str]) -> str:
    return ran(["bash", "-euo", "pipefail", "-c", script], environment)


@pytest.mark.parametrize("code", of("python"))
def test_python(code: str, environment: dict[str, str], warm: Warm) -> None:
    if ADAPTER.search(code):  # deep: as a stranger's process would
        ran([sys.executable, "-c", code], environment)
    else:
        done = warm.run(["-c", code], ROOT, environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_a_workflow(environment: dict[str, str], warm: Warm) -> None:
    done = warm.run(["-c", (ROOT / "examples" / "workflow.py").read_text()], ROOT, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "A person is asked about: close the books, $12.00 in all", "  3. pay_invoice: 3 times up to $5.00",
        "Planned $12.00, used $4.54, asked beside it 1", "After its end: REJECTED (workflow_ended)",
    ):  # fmt: skip
        assert line in done.stdout.splitlines()
    asked = [line.split(".")[0] for line in done.stdout.splitlines() if line.startswith("Invoice")]
    assert asked == [f"Invoice {number}: {said}" for number, said in enumerate(["GRANTED"] * 3 + ["PENDING"], start=1)]


@pytest.mark.parametrize("code", of("python", online=True))
def test_programs_of_frameworks(code: str, environment: dict[str, str]) -> None:
    """As they stand; their provider is on loopback, see `around`."""
    around = [sys.executable, "-W", "ignore", ROOT / "tests" / "project" / "around.py"]
    ran(around, environment | {"PYTHONPATH": str(ROOT / "tests"), "CREWAI_STORAGE_DIR": environment["HOME"]}, code)


def test_each_framework_has_its_lines() -> None:
    text = (ROOT / "docs" / "frameworks.md").read_text()
    programs = [match[2] for match in BLOCK.finditer(text) if ADAPTER.search(match[2])]
    assert [ADAPTER.findall(each) for each in programs] == [
        ["aegis_langchain"], ["aegis_langchain", "aegis_langgraph"], ["aegis_crewai"], ["aegis_autogen"],
        ["aegis_autogen.agentchat"],
    ]  # fmt: skip
    assert all("with connect_sync() as governor:" in each for each in programs)


@pytest.mark.parametrize("code", of("sh"))
def test_shell(code: str, environment: dict[str, str], request: pytest.FixtureRequest) -> None:
    if re.match(r"\s*make ", code):  # the test suite runs inside one of these, so only what they would do is looked at
        assert "tests/side_by_side.py" in run("make -n test", environment)
        for target in re.findall(r"^make (\S+)", code, re.MULTILINE):
            run(f"make -n {target}", environment)
    elif code.startswith("uvicorn"):
        assert code.split()[:2] == ["uvicorn", "main:app"]
        assert request.getfixturevalue("api")
    elif "localhost:8000" in code:
        answers = run(code.replace("localhost:8000", f"localhost:{request.getfixturevalue('api')}"), environment)
        decoder, at, found = json.JSONDecoder(), 0, []
        while at < len(answers.strip()):
            value, at = decoder.raw_decode(answers, at)
            found.append(value)
        promised = json.loads(
            next(match[2] for match in BLOCK.finditer((ROOT / "README.md").read_text()) if match[1] == "json")
        )
        del promised["granted_at"]
        assert {name: found[-1][name] for name in promised} == promised
    else:
        assert run(code, environment)


@pytest.mark.parametrize("code", of("json"))
def test_json(code: str) -> None:
    assert json.loads(code)


def test_no_block_is_left_out() -> None:
    languages = {match[1] for page in PAGES for match in BLOCK.finditer(page.read_text())}
    assert languages <= {"python", "sh", "json", "text"}, "a language that no test executes"
    assert not any("@" + name + "@" in page.read_text() for page in PAGES for name in ("REPLAY", "FIGURES"))


def test_the_first_example_has_at_most_fifteen_lines() -> None:
    first = next(match[2] for match in BLOCK.finditer((ROOT / "README.md").read_text()) if match[1] == "python")
    assert first.count("\n") <= 15


def test_the_first_page_is_short_and_its_pictures_are_as_they_are_made() -> None:
    page = (ROOT / "README.md").read_text()
    assert page.count("\n") <= 150
    assert {"docs/demo.svg", "docs/architecture.svg"} <= set(re.findall(r"\]\((docs/[\w-]+\.svg)\)", page))
    drawn = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "draw_architecture.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "architecture.svg").read_text() == drawn.stdout
    shown = (ROOT / "docs" / "demo.svg").read_text().replace("&#160;", " ")
    for scene in ("2  Granted, and routed", "6  50 at once", "the budget, to the cent", "What routing saved"):
        assert scene in shown, "make pictures"


def test_no_page_or_message_speaks_as_if_the_package_were_on_an_index() -> None:
    sources = [file for room in ("aegis_core", "integrations", "examples") for file in (ROOT / room).rglob("*.py")]
    assert len(sources) > 300
    for page in (*PAGES, *sources):
        assert not re.search(r"pip install (-U )?.?aegis-governor", page.read_text()), page


def test_what_the_distribution_is_called_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == distribution.NAME
    naming = [file for file in (ROOT / "aegis_core").rglob("*.py") if distribution.NAME in file.read_text()]
    assert naming == [ROOT / "aegis_core" / "protocol" / "distribution.py"]
    for extra in project["optional-dependencies"]:
        assert f"'.[{extra}]'" in distribution.installing(extra)
