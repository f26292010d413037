"""What the environment says of Aegis, kept from the ``.env`` of a directory that CrewAI reads when it is imported.

Whoever wrote that file could have the program's key sent elsewhere, so it counts only where the program names it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path

from aegis_core.protocol.errors import ConfigurationError

_INITIAL = Path("/proc/self/environ")
"""With what this process was started, where the system says so."""


def _is_ours(name: str) -> bool:
    """Whether it is a setting of Aegis; those are read in upper and lower case alike."""
    return name.upper().startswith("AEGIS_") or name.upper() == "USE_FAKE_REDIS"


@contextmanager
def own_environment() -> Generator[None]:
    """Leave what the environment says of Aegis as it is, whatever is imported meanwhile."""
    before = {name: value for name, value in environ.items() if _is_ours(name)}
    try:
        yield
    finally:
        for name in filter(_is_ours, list(environ)):
            del environ[name]
        environ.update(before)


def refuse_read_settings() -> None:
    """Where CrewAI was imported before, look whether it may have read settings of Aegis from a file.

    Raises:
        ConfigurationError: a setting has the value that such a file gives it, the process was not started with it, and
            ``AEGIS_ENV_FILE`` does not name the file.
    """
    crewai = sys.modules.get("crewai")
    if crewai is None:
        return
    for file in _files(Path(getattr(crewai, "__file__", None) or Path.cwd() / "crewai")):
        found = _read_from(file)
        named = environ.get("AEGIS_ENV_FILE")
        if not found or (named and "AEGIS_ENV_FILE" not in found and Path(named).resolve() == file.resolve()):
            continue
        names = ", ".join(found)
        raise ConfigurationError(
            f"{names}: {file} says so, which CrewAI reads when it is imported, and anybody may have written that file. "
            "Import aegis_crewai before crewai, and what the file says of Aegis counts for nothing; or, if you trust "
            f"it, start the program with AEGIS_ENV_FILE={file}.",
            field=found[0],
            file=str(file),
        )


def _files(crewai: Path) -> Iterator[Path]:
    """Those that CrewAI's own search finds: the next above its code, or above where a program without a file runs."""
    for start in (Path.cwd(), crewai.parent):
        for folder in (start, *start.parents):
            if (folder / ".env").is_file():
                yield folder / ".env"
                break


def _read_from(file: Path) -> list[str]:
    """Which settings the process has from this file."""
    from dotenv import dotenv_values

    try:
        said = dotenv_values(file)
    except (OSError, ValueError):  # CrewAI could not read it either
        return []
    initial = _initial()
    return [
        name for name, value in said.items()
        if _is_ours(name) and value is not None and environ.get(name) == value and initial.get(name) != value
    ]  # fmt: skip


def _initial() -> dict[str, str]:
    try:
        rows = _INITIAL.read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(row.decode(errors="surrogateescape").split("=", 1) for row in rows if b"=" in row)
