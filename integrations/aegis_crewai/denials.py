"""How CrewAI is told to stop: errors of Aegis that are also CrewAI's own `HookAborted`.

CrewAI swallows or retries every other error somewhere: `max_retry_limit` starts the task again, planning and memory go
on without their model. A `HookAborted` passes all of that.
"""

from __future__ import annotations

from crewai.hooks import HookAborted

from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError
from aegis_core.protocol.messages import Verdict


class CallRefused(AegisDenied, HookAborted):
    """A call was refused: an `AegisDenied` that ends the crew's run, whatever retries are set."""

    def __init__(self, message: str, *, verdict: Verdict, **facts: object) -> None:
        super().__init__(message, verdict=verdict, **facts)
        self.reason, self.source = message, "aegis"


class CallStopped(AegisError, HookAborted):  # noqa: N818 - beside CallRefused
    """Nothing was decided (the governor is down, a price is unknown, …), so the call is not made and the run ends.

    Its ``__cause__`` is the error of Aegis; `code` and `facts` are that error's.
    """

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message, **facts)
        self.reason, self.source = message, "aegis"


def stopping(error: AegisError) -> CallRefused | CallStopped:
    """The error to raise ``from`` an error of Aegis, so that CrewAI stops."""
    if isinstance(error, AegisDenied):
        return CallRefused(error.message, verdict=error.verdict, **{**error.facts, "code": error.code})
    return CallStopped(error.message, **{**error.facts, "code": error.code})
