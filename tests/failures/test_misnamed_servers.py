"""A server of another kind than ``AEGIS_URL`` says, or a cluster that lacks a part: one sentence at each door."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import Machine, machine
from terminal import run_aegis

import aegis_core
from aegis_core import AegisError, ConfigurationError, StoreError
from aegis_core.testing import private_settings

IS_NODE = "is a node of a Redis Cluster; give redis+cluster://HOST:PORT,HOST:PORT"
NO_DATABASE = "names a database that is not there; a node of a Redis Cluster has only 0, and wants redis+cluster://"
NO_CLUSTER = "is no Redis Cluster; give redis://HOST:PORT/DB"
NO_SENTINEL = "is no Sentinel; give redis://HOST:PORT/DB, or the address of a Sentinel"
IS_SENTINEL = "is a Sentinel; give redis+sentinel://HOST:PORT/SERVICE"
NO_SLOTS = (
    "Slots of the Redis Cluster have no primary; CLUSTER INFO on one of its nodes says more; no decision was made."
)
NO_PASSWORD = "Redis wants a password; put it into AEGIS_URL; no decision was made."
WRONG_PASSWORD = "Redis refuses the user or password in AEGIS_URL; no decision was made."
TABLE: dict[str, tuple[str, str, type[AegisError], str]] = {
    "redis:// at a node without slots": ("cluster", "redis://{at}", ConfigurationError, IS_NODE),
    "redis:// with a database at a node": ("cluster", "redis://{at}/3", ConfigurationError, NO_DATABASE),
    "a cluster without slots": ("cluster", "redis+cluster://{at}", StoreError, NO_SLOTS),
    "redis:// at a node with some slots": ("half", "redis://{at}", ConfigurationError, IS_NODE),
    "a cluster that lacks slots": ("half", "redis+cluster://{at}", StoreError, NO_SLOTS),
    "redis+cluster:// at one server": ("one", "redis+cluster://{at}", ConfigurationError, NO_CLUSTER),
    "redis+sentinel:// at one server": ("one", "redis+sentinel://{at}/x", ConfigurationError, NO_SENTINEL),
    "redis:// at a sentinel": ("sentinel", "redis://{at}", ConfigurationError, IS_SENTINEL),
    "no password": ("locked", "redis://{at}", StoreError, NO_PASSWORD),
    "a wrong password": ("locked", "redis://:no@{at}", StoreError, WRONG_PASSWORD),
}  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    """One of each kind."""
    home = tmp_path_factory.mktemp("kinds")
    (home / "sentinel.conf").write_text("")
    clustered = ("--cluster-enabled", "yes")
    with (
        machine(home / "one") as one,
        machine(home / "cluster", *clustered) as cluster,
        machine(home / "half", *clustered) as half,
        machine(home / "locked", "--requirepass", "s3cret") as locked,
        machine(home / "sentinel", str(home / "sentinel.conf"), "--sentinel") as sentinel,
    ):
        half.client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 8_000)
        yield {"one": one, "cluster": cluster, "half": half, "locked": locked, "sentinel": sentinel}


@pytest.mark.parametrize("case", TABLE)
async def test_the_library_says_it_in_one_sentence(servers: dict[str, Machine], case: str) -> None:
    kind, url, raised, sentence = TABLE[case]
    with pytest.raises(raised) as caught:
        async with aegis_core.connect(settings=private_settings(url=url.format(at=f"127.0.0.1:{servers[kind].port}"))):
            pytest.fail("connected")
    assert caught.value.message.endswith(sentence)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("command", ["doctor", "budget show a", "serve"])
@pytest.mark.parametrize("case", TABLE)
def test_so_does_each_command(
    servers: dict[str, Machine], case: str, command: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    kind, url, _, sentence = TABLE[case]
    monkeypatch.chdir(tmp_path)
    place = {"AEGIS_URL": url.format(at=f"127.0.0.1:{servers[kind].port}"), "AEGIS_DATA_DIR": tmp_path}
    code, out, err = run_aegis(monkeypatch, capsys, *command.split(), environment=place)
    assert code == 1
    assert "Traceback" not in out + err
    said = out if command == "doctor" else err
    assert sentence.removesuffix(" no decision was made.") in re.sub(r"\s+", " ", said)
