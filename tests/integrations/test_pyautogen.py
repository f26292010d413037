"""Classic AutoGen's tests again, in an environment with `pyautogen` 0.2."""

from __future__ import annotations

import os
import re
import sys
import tomllib

import pytest

from . import pyautogen_env


def test_pyautogen_needs_an_older_python() -> None:
    """Where this Python is a later one, the test below does not exist; the package's own range is why."""
    extras = tomllib.loads((pyautogen_env.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (needed,) = extras["pyautogen"]
    assert needed.endswith(f"python_version < '{'.'.join(map(str, pyautogen_env.BELOW))}'")


if sys.version_info < pyautogen_env.BELOW:

    @pytest.mark.timeout(900)
    def test_all_of_it_passes_on_pyautogen() -> None:
        try:
            finished = pyautogen_env.run()
        except pyautogen_env.UnreachableError as error:
            said = f"the environment with pyautogen could not be made: {error}"
            if os.environ.get("CI"):
                pytest.fail(said)
            pytest.skip(said)
        said = finished.stdout[-6_000:] + finished.stderr[-2_000:]
        assert finished.returncode == 0, said
        passed = re.search(r"(\d+) passed", finished.stdout)
        assert passed is not None, said
        assert int(passed[1]) >= 35, said
