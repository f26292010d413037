"""The command ``aegis`` in this process, as a person or a script meets it."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

import pytest

from aegis_core.cli import main


def run_aegis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str,
    environment: Mapping[str, object] = {}, given: bytes | None = None,
) -> tuple[int, str, str]:  # fmt: skip
    """Run it with these arguments; answers its exit code and what it wrote to both streams.

    Args:
        monkeypatch: of the test.
        capsys: of the test.
        *arguments: after ``aegis``.
        environment: variables that it sees beside those of the test.
        given: its standard input.
    """
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["aegis", *arguments])
        if given is not None:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        for name, value in environment.items():
            patch.setenv(name, str(value))
        code = 0
        try:
            main()
        except SystemExit as ending:
            code = int(ending.code or 0)
    caught = capsys.readouterr()
    return code, caught.out, caught.err
