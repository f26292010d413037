"""Attacks by the directory in which a command is given, such as that of a repository just cloned."""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from terminal import run_aegis

from aegis_core import ConfigurationError, Settings, connect_sync
from aegis_core.connect import replacement, with_overrides
from aegis_core.settings import load_settings
from aegis_core.store.embedded import stop_server
from aegis_core.store.store import open_store
from aegis_core.testing import private_settings
from tests.guarding import DEFENDED

KEY = "aegis_key_that-nobody-else-may-see"


@contextmanager
def eavesdropper() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps what it is told: its port, and that."""
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def listen() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    heard.append(line.recv(65_536))
                    line.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@DEFENDED
def test_a_directory_that_names_another_governor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, defended: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    with eavesdropper() as (port, heard):
        Path(".env").write_text(f"AEGIS_URL=http://127.0.0.1:{port}\n")
        # As it was: the file of the directory counts for every command.
        mine = {"AEGIS_API_KEY": KEY, "AEGIS_DATA_DIR": tmp_path / "data"}
        theirs = {} if defended else {"AEGIS_ENV_FILE": ".env"}
        code, _, said = run_aegis(monkeypatch, capsys, "agents", "list", environment={**mine, **theirs})
    assert (not any(KEY.encode() in each for each in heard)) is defended, heard
    assert (code == 0) is defended, said


@pytest.mark.parametrize("url", ["http://governor.example", "http://10.0.0.7:8000", "http://localhost.example"])
def test_a_key_in_plain_http_beyond_this_machine(url: str) -> None:
    settings = private_settings(url=url)
    with pytest.raises(ConfigurationError, match="AEGIS_ALLOW_PLAIN_HTTP"), connect_sync(settings=settings, token=KEY):
        pytest.fail("connected")
    for name in ("api_key", "operator_secret"):
        with pytest.raises(ConfigurationError), connect_sync(settings=private_settings(url=url, **{name: KEY})):
            pytest.fail("connected")
    for allowed in (
        {"url": url, "allow_plain_http": True},
        {"url": url.replace("http:", "https:")},
        {"url": "http://[::1]:8000"},
    ):
        with connect_sync(settings=private_settings(**allowed), token=KEY):  # nothing is sent yet
            pass


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Settings]:
    """A user's own embedded server with the shipped rules, and a file that has none."""
    settings = private_settings(data_dir=tmp_path / "data", embedded_stay=True)
    with connect_sync(settings=settings):
        pass
    (tmp_path / "none.json").write_text('{"schema": 1, "rules": []}')
    yield settings
    stop_server(settings.data_dir)


def in_force(settings: Settings) -> int:
    """How many rules."""
    with connect_sync(settings=settings) as governor:
        agent = governor.handshake("a")
        return 0 if agent.request("drop database prod", estimated_cost_usd=0).granted else 1


def test_a_rules_file_that_would_replace_those_of_ones_own_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shared: Settings, tmp_path: Path
) -> None:
    environment = {"AEGIS_DATA_DIR": shared.data_dir, "AEGIS_POLICY_FILE": tmp_path / "none.json"}
    code, out, _ = run_aegis(monkeypatch, capsys, "policy", "show", "--json", environment=environment)
    assert (code, bool(json.loads(out)["rules"])) == (0, True), "a command that looks replaces nothing"
    with socket.socket() as taken:  # so that a server ends by itself, once it has put its rules in force
        taken.bind(("127.0.0.1", 0))
        serve = ("serve", "--port", str(taken.getsockname()[1]))
        code, out, said = run_aegis(monkeypatch, capsys, *serve, environment=environment, given=b"y\n")
        assert code == 1
        assert "none.json replaces version 1" in said
        assert "aegis serve --yes" in said
        assert in_force(shared) == 1
        run_aegis(monkeypatch, capsys, *serve, "--yes", environment=environment)
        assert in_force(shared) == 0


def test_a_program_that_names_a_rules_file_hears_what_it_replaces(
    heard: pytest.LogCaptureFixture, shared: Settings, tmp_path: Path
) -> None:
    with connect_sync(settings=shared.model_copy(update={"policy_file": tmp_path / "none.json"})):
        assert "none.json replaces version 1 of the policy of tenant default" in heard.text
    assert in_force(shared) == 0, "it means it"


async def test_what_a_rules_file_replaces(shared: Settings, tmp_path: Path) -> None:
    settings = shared.model_copy(update={"policy_file": tmp_path / "none.json"})
    store = await open_store(settings)
    try:
        assert "replaces version 1" in (await replacement(store, settings) or "")
        assert await replacement(store, shared) is None
        assert await replacement(store, settings.model_copy(update={"tenant": "fresh"})) is None, "it has no rules yet"
        far = settings.model_copy(update={"url": "redis://somewhere"})
        assert await replacement(store, far) is None, "that server is nobody's own"
    finally:
        await store.aclose()


def test_who_reads_the_file_of_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("AEGIS_TENANT=of-the-directory\n")
    Path("named").write_text("AEGIS_TENANT=of-the-named\n")
    assert load_settings().tenant == with_overrides(None).tenant == Settings().tenant == "default"
    assert load_settings(working_directory=True).tenant == "of-the-directory"
    Path(".env").write_text("AEGIS_PORT=none\n")
    with pytest.raises(ConfigurationError, match="AEGIS_PORT"):
        runpy.run_path(str(Path(__file__).parents[2] / "main.py"))
    monkeypatch.setenv("AEGIS_ENV_FILE", "named")
    assert load_settings().tenant == load_settings(working_directory=True).tenant == "of-the-named"
    monkeypatch.setenv("AEGIS_ENV_FILE", "missing")
    with pytest.raises(ConfigurationError, match="AEGIS_ENV_FILE: missing cannot be read"):
        load_settings()


def test_a_file_named_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text("AEGIS_URL=redis://127.0.0.1:1\n")
    code, _, said = run_aegis(monkeypatch, capsys, "--env-file", "mine", "budget", "show")
    assert (code, "127.0.0.1:1" in said) == (1, True), said
    assert "AEGIS_ENV_FILE" not in os.environ


def _ran_in(directory: Path, program: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AEGIS_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=directory,
        env=environment | more,
        text=True,
        capture_output=True,
        check=False,
    )


ELSEWHERE = "AEGIS_URL=http://127.0.0.1:9\naegis_api_key=theirs\nUSE_FAKE_REDIS=true\nOTHER=read\n"
SAY = "import os; print(*map(os.environ.get, ['AEGIS_URL', 'aegis_api_key', 'USE_FAKE_REDIS', 'OTHER']))"


@pytest.mark.deep  # daily: what it does on import, by hand, below
def test_a_directory_in_which_crewai_is_imported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(ELSEWHERE)
    ran = _ran_in(tmp_path, f"from aegis_crewai import govern_tools; {SAY}")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["None", "None", "None", "read"], "CrewAI no longer reads it, or it is not held off"


@pytest.mark.deep
def test_a_directory_in_which_crewai_was_imported_before(tmp_path: Path) -> None:
    """Then the settings are there already; the program ends before it connects, unless it trusts the file by name."""
    (tmp_path / ".env").write_text(ELSEWHERE)
    program = f"""
import aegis_core, crewai; {SAY}
try:
    import aegis_crewai
except aegis_core.ConfigurationError as error:
    print(error)
os.environ["AEGIS_ENV_FILE"] = ".env"
import aegis_crewai; print(aegis_crewai.govern_tools.__name__)
"""
    ran = _ran_in(tmp_path, program)
    assert ran.returncode == 0, ran.stderr
    read, said, goes_on = ran.stdout.splitlines()
    assert read.split() == ["http://127.0.0.1:9", "theirs", "true", "read"], "CrewAI no longer reads it"
    assert said.startswith(f"AEGIS_URL, aegis_api_key, USE_FAKE_REDIS: {tmp_path / '.env'} says so")
    assert said.endswith(f"start the program with AEGIS_ENV_FILE={tmp_path / '.env'}.")
    assert goes_on == "govern_tools"


AS_CREWAI = (
    "import sys, types, dotenv; sys.modules['crewai'] = types.ModuleType('crewai'); dotenv.load_dotenv('.env'); "
)
"""What its import does here, without the seconds that it takes."""


@pytest.mark.parametrize(
    ("program", "started", "goes_on"),
    [
        (AS_CREWAI + "import aegis_crewai", {}, False),
        ("import aegis_crewai; " + AS_CREWAI + "aegis_crewai.govern_tools", {}, False),
        (AS_CREWAI + "import aegis_crewai", {"AEGIS_ENV_FILE": ".env"}, True),
        (AS_CREWAI + "import aegis_crewai", {"AEGIS_ENV_FILE": "other.env"}, False),
        (AS_CREWAI + "import aegis_crewai", {"AEGIS_URL": "http://127.0.0.1:8"}, False),
        pytest.param(
            AS_CREWAI + "import aegis_crewai",
            {"AEGIS_URL": "http://127.0.0.1:9", "aegis_api_key": "theirs", "USE_FAKE_REDIS": "true"},
            True,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux says with what a process was started"),
        ),
    ],
    ids=["before", "between", "it names the file", "it names another", "one is its own", "all are its own"],
)
def test_who_trusts_a_directory_in_which_crewai_was_imported(
    tmp_path: Path, program: str, started: dict[str, str], goes_on: bool
) -> None:
    (tmp_path / ".env").write_text(ELSEWHERE)
    ran = _ran_in(tmp_path, program, **started)
    assert (ran.returncode == 0) is goes_on, ran.stderr
    assert ("ConfigurationError: " in ran.stderr) is not goes_on


def test_a_directory_that_names_an_upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is started where people work, and what it is sent goes out with their provider's key."""
    from aegis_core.cli.proxy import proxy_settings

    monkeypatch.chdir(tmp_path)
    Path(".env").write_text('AEGIS_PROXY_UPSTREAMS={"openai": "http://127.0.0.1:9"}\n')
    assert proxy_settings(None, None).proxy_upstreams == {}
    monkeypatch.setenv("AEGIS_ENV_FILE", ".env")
    assert proxy_settings(None, None).proxy_upstreams == {"openai": "http://127.0.0.1:9"}
