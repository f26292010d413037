"""The programs of the README and the docs that need a framework, in a process that has loaded it already.

`make test-deep` runs each in a process of its own, as a stranger would, see `tests/project/test_readme.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.project.around import paid_and_refused
from tests.project.pages import ADAPTER, ROOT, blocks, calls_a_provider

PROGRAMS = [
    pytest.param(code, calls_a_provider(place, code), id=place)
    for place, code in blocks("python")
    if ADAPTER.search(code)
]


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of the frameworks, which the programs would not show either
@pytest.mark.parametrize(("code", "online"), PROGRAMS)
def test_it_does_what_the_page_says(code: str, online: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("AEGIS_") and each != "AEGIS_TIMEZONE"]:
        monkeypatch.delenv(name)
    for name, value in {
        "AEGIS_DATA_DIR": tmp_path / "data", "HOME": tmp_path, "CREWAI_STORAGE_DIR": tmp_path,
        "OPENAI_API_KEY": "", "OPENAI_BASE_URL": "",  # to be given back: `paid_and_refused` sets them
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(ROOT)
    if online:
        paid_and_refused(code)
    else:
        exec(code, {"__name__": "__main__"})
