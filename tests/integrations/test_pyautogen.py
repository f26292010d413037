"""Classic AutoGen's tests again, in an environment with `pyautogen` 0.2.

From a shell, once ``make fetched`` has made it::

    .venv-pyautogen/bin/python -m pytest tests/integrations/autogen_classic -k airline
"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from fetching import DECLARED, PYAUTOGEN, PYAUTOGEN_BELOW, ROOT

CLASSIC = ROOT / "tests" / "integrations" / "autogen_classic"


def test_pyautogen_needs_an_older_python() -> None:
    """Where this Python is a later one, the test below does not exist; the package's own range is why."""
    (needed,) = DECLARED["project"]["optional-dependencies"]["pyautogen"]
    assert needed.endswith(f"python_version < '{'.'.join(map(str, PYAUTOGEN_BELOW))}'")


if sys.version_info < PYAUTOGEN_BELOW:

    @pytest.mark.deep  # daily: the same tests on autogen 0.14
    @pytest.mark.timeout(900)
    def test_all_of_it_passes_on_pyautogen() -> None:
        command = [PYAUTOGEN.path() / "bin" / "python", "-m", "pytest", "-v", "-rs", CLASSIC]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        said = finished.stdout[-6_000:] + finished.stderr[-2_000:]
        assert finished.returncode == 0, said
        passed = re.search(r"(\d+) passed", finished.stdout)
        assert passed is not None, said
        assert int(passed[1]) >= 35, said
