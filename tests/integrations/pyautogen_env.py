"""A second environment for `pyautogen` 0.2, which writes the same package as `autogen` 0.14 and cannot stand beside it.

It lies in ``.venv-pyautogen``, is made once for each state of ``pyproject.toml`` and needs only this Python (at least
3.11, below 3.13) and a package index. From a shell, with further arguments for pytest::

    python tests/integrations/pyautogen_env.py -k airline
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-pyautogen"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
TESTS = "tests/integrations/autogen_classic"
TOOLS = ("hypothesis>=6.150", "pytest>=9", "pytest-asyncio>=1.3", "pytest-timeout>=2.4", "pyyaml>=6")
BELOW = (3, 13)
"""`pyautogen` 0.2 needs an older Python than this."""


class UnreachableError(Exception):
    """The environment could not be made; the text says why."""


def make() -> Path:
    """The interpreter of the environment, made if it is not there.

    Raises:
        UnreachableError: the package index did not give what is needed.
    """
    made_of = sha256((ROOT / "pyproject.toml").read_bytes() + repr((TOOLS, sys.version)).encode()).hexdigest()
    mark = HOME / "made-of"
    if mark.is_file() and mark.read_text() == made_of:
        return PYTHON
    shutil.rmtree(HOME, ignore_errors=True)
    if find_spec("uv") is None:
        _run("pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    _run("uv", "venv", "--quiet", "--system-certs", "--seed", "--python", sys.executable, str(HOME))
    needed = ("--extra", "pyautogen", "-r", str(ROOT / "pyproject.toml"), *TOOLS)
    _run("uv", "pip", "install", "--quiet", "--system-certs", "--python", str(PYTHON), *needed)
    mark.write_text(made_of)
    return PYTHON


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of classic AutoGen there. The project itself is not installed but found by its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "integrations")))}
    command = [str(make()), "-m", "pytest", TESTS, "-v", "-rs", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def _run(module: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnreachableError(f"{module} {arguments[0]}: {done.stderr.strip()[-600:]}")


if __name__ == "__main__":
    finished = run(*sys.argv[1:])
    print(finished.stdout, finished.stderr, sep="\n")
    raise SystemExit(finished.returncode)
