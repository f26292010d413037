"""A wallet that nobody guards but Aegis: a file, read and then written, so that two at once would lose money."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One payment: who made it, with which fence, and what was left."""

    who: str
    fence: int
    left: int


class StaleFenceError(Exception):
    """A later lease has been here, so this payment comes from one that is over."""


class Wallet:
    """Stands outside Aegis and knows one thing of it: a fence that is lower than the last one is refused."""

    def __init__(self, path: Path, coins: int) -> None:
        self._path, self._coins = path, coins

    def entries(self) -> list[Entry]:
        """Every payment, oldest first."""
        text = self._path.read_text() if self._path.exists() else ""
        return [Entry(*json.loads(line)) for line in text.splitlines()]

    def spend(self, who: str, fence: int) -> int:
        """Pay one coin and answer how many are left.

        Raises:
            StaleFenceError: the fence is older than one that was here.
        """
        before = self.entries()
        left = before[-1].left if before else self._coins
        if before and fence <= before[-1].fence:
            raise StaleFenceError(f"fence {fence} is older than {before[-1].fence}, which was here")
        time.sleep(0.01)  # long enough that one who came in between would be overwritten
        with self._path.open("a") as file:
            file.write(json.dumps(Entry(who, fence, left - 1)) + "\n")
        return left - 1
