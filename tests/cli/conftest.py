"""Where the commands are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_core import Settings


@pytest.fixture
def here(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The environment of the commands: the worker's server and this test's tenant."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEGIS_URL", settings.url)
    monkeypatch.setenv("AEGIS_TENANT", settings.tenant)
    return settings
