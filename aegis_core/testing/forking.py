"""Forked children of a test, and what they say. For systems that fork."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable

LONGEST = 40
"""Seconds after which a child that hangs is ended."""


class Child:
    """A forked child that carries out work and says what came of it.

    It never goes on with the test: it ends where the work ends, whatever is raised there.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._said, answers = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is what is tried
            self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LONGEST)
            try:
                said = str(work())
            except BaseException as error:  # noqa: BLE001 - it is told, and must not go on with the test
                said = f"{type(error).__name__}: {error}"
            os.write(answers, said.encode())
            os._exit(0)
        os.close(answers)

    def says(self) -> str:
        """Its value or error, once it has ended."""
        with os.fdopen(self._said) as answers:
            said = answers.read()
        status = os.waitpid(self.pid, 0)[1]
        assert status == 0, f"the child was ended by signal {os.WTERMSIG(status)}: it hung" if status else ""
        return said


def forked(work: Callable[[], object]) -> str:
    """What a forked child makes of it."""
    return Child(work).says()
