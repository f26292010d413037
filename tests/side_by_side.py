"""Runs the whole daily suite in two parts at once: ``make test`` starts this.

The frameworks that adapters are for take most of the time in which a worker loads the tests. So the tests of adapters
have workers of their own, with what else takes long to load, and the others never load a framework. What the first part
says comes after the second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADAPTERS = ("tests/integrations", "tests/programs", "tests/sdk_programs", "tests/api/test_schemathesis.py")
"""The last is none: to make its cases takes a quarter of the time in which all others are loaded."""
UNUSED = ("-p", "no:schemathesis")
"""A plugin that takes a second to load, in each worker, for tests of the first part."""
NO_TESTS = 5
"""What pytest ends with when it found none, as where a part has none of those that are wanted."""


def started(arguments: list[str], workers: int, output: int | None = None) -> subprocess.Popen[bytes]:
    """One part, on so many workers."""
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "worksteal", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output and subprocess.STDOUT)


def main() -> int:
    """Run both parts with the arguments of the command; answers the exit code."""
    given, cores = sys.argv[1:], os.cpu_count() or 1
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        adapters = started([*ADAPTERS, *given], max(1, cores // 2), said.fileno())
        # More workers than there are cores: a good part of their time tests wait for servers and processes.
        others = started([*(f"--ignore={each}" for each in ADAPTERS), *UNUSED, *given], cores + 1, None)
        codes = [others.wait()]
        codes.append(adapters.wait())
        print("\nThe adapters' tests:", flush=True)
        said.seek(0)
        sys.stdout.buffer.write(said.read())
    print(f"Both parts took {time.monotonic() - began:.0f} s.")
    failed = [code for code in codes if code not in {0, NO_TESTS}]
    return failed[0] if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main())
