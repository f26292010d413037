"""What this distribution is called, and how it is installed: from a checkout, for it is on no package index."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version

NAME = "aegis-governor"
"""As in ``pyproject.toml``. Packages on an index that are called ``aegis``, ``aegis-core`` or after an adapter are
strangers'."""

UPGRADE = "pip install . in a newer checkout of Aegis"
"""What to do where something newer than this is needed."""


def installing(extra: str) -> str:
    """What to do where an extra of ``pyproject.toml`` is missing."""
    return f"pip install '.[{extra}]' in a checkout of Aegis"


@cache
def version() -> str:
    """The version of this Aegis; ``0`` where it was never installed."""
    try:
        return _version(NAME)
    except PackageNotFoundError:
        return "0"
