"""Folders that have to be there before a test is, and are gone after the last."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile


def scratch(name: str) -> str:
    """A folder of this process. One that forks from it leaves it there."""
    folder, owner = tempfile.mkdtemp(prefix=f"aegis-{name}-"), os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))
    return folder
