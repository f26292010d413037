"""A primary with replicas that need not hear of what it grants."""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import machine, until
from terminal import run_aegis

SENTENCE = "there are replicas, and min-replicas-to-write is 0"


def test_doctor_warns_of_replicas_that_need_not_hear_of_grants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with machine(tmp_path / "primary") as primary, machine(tmp_path / "replica") as replica:
        place = {"AEGIS_URL": primary.url, "AEGIS_DATA_DIR": tmp_path}

        def warned() -> bool:
            code, out, err = run_aegis(monkeypatch, capsys, "doctor", environment=place)
            assert code == 0, out + err
            return SENTENCE in " ".join(out.split())

        assert not warned()
        replica.client.replicaof("127.0.0.1", primary.port)
        until(lambda: replica.client.info("replication")["master_link_status"] == "up")
        assert warned()
        primary.client.config_set("min-replicas-to-write", 1)
        assert not warned()
