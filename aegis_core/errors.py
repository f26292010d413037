"""The error tree. An error carries facts, so that a program need not read its text.

::

    AegisError
    ├── AegisDenied (ValueError)          a refusal, raised only by `permit`; carries the verdict
    ├── InvalidRequestError (ValueError)  a field that cannot be accepted
    ├── NotFoundError (LookupError)       an agent, session, grant or budget that is not there
    │   └── UnknownModelError             a model without a known price
    ├── ConflictError                     an id reused with other content, a grant already closed otherwise
    │   ├── LockTimeoutError (TimeoutError)  a lock was not to be had in time
    │   └── LockLostError             a lease that is no more: expired, given back, or taken
    │       └── LockPreemptedError    taken for a higher priority, or to end a cycle of waits
    ├── AuthError (PermissionError)       a wrong credential, or somebody else's property
    ├── PolicyError (ValueError)          a policy document that cannot be loaded
    ├── ConfigurationError                settings or a server that Aegis must not run on
    └── StoreError                        Redis is down, slow, read-only or out of memory
        └── StaleError                    the same control answer twice in a row

A denial is a ``ValueError`` because retry policies of the agent frameworks leave that type alone.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aegis_core.protocol import Verdict

_AS_TEXT = re.compile(r"(?P<message>Aegis refused.*?) \[(?P<code>[a-z_]+)\]", re.DOTALL)


class AegisError(Exception):
    """Base of all errors raised by Aegis.

    Attributes:
        code: a stable name in snake_case, the same in Python, HTTP and events.
        message: one sentence for a person: what was wrong and what to do.
        facts: the values behind the message, JSON-compatible.
    """

    code = "error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = str(facts.pop("code", type(self).code))
        self.facts: dict[str, Any] = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, {"code": self.code, **self.facts}))


def _rebuild(kind: type[AegisError], message: str, facts: dict[str, Any]) -> AegisError:
    """Pickle keeps positional arguments only; facts are keywords."""
    return kind(message, **facts)


RUN_ENDS = "so the run ends."
"""The last words of a final denial."""


class AegisDenied(AegisError, ValueError):  # noqa: N818 - the name is part of the public protocol
    """A permit was refused. ``verdict`` holds the whole answer; ``code`` is the verdict's code."""

    code = "denied"

    def __init__(self, message: str, *, verdict: Verdict, **facts: Any) -> None:
        super().__init__(message, **{"code": verdict.code, **facts})
        self.verdict = verdict

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"  # some frameworks keep nothing of an error but its text

    @property
    def final(self) -> bool:
        """True when the same call was refused so often that the run must end."""
        return bool(self.facts.get("final"))

    @classmethod
    def from_exception(cls, error: BaseException) -> AegisDenied | None:
        """The denial behind what a framework raised: itself, a cause or context, a member of a group, or its text."""
        texts: list[str] = []
        seen: set[int] = set()
        waiting: list[object] = [error]
        while waiting:
            found = waiting.pop(0)
            if isinstance(found, cls):
                return found
            if isinstance(found, str):
                texts.append(found)
            if not isinstance(found, BaseException) or id(found) in seen:
                continue
            seen.add(id(found))
            inner = found.exceptions if isinstance(found, BaseExceptionGroup) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            waiting += [found.__cause__, found.__context__, *inner, *found.args]  # pyright: ignore[reportUnknownArgumentType]
        return next((denied for text in texts if (denied := cls._from_text(text))), None)

    @classmethod
    def _from_text(cls, text: str) -> AegisDenied | None:
        match = _AS_TEXT.search(text)
        if match is None:
            return None
        from aegis_core.protocol import Verdict

        verdict = Verdict("REJECTED", "", match["message"], match["code"], Decimal(0), "", 0)
        return cls(match["message"], verdict=verdict, final=match["message"].endswith(RUN_ENDS))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, {"verdict": self.verdict, "code": self.code, **self.facts}))


class InvalidRequestError(AegisError, ValueError):
    """A value that cannot be accepted. Facts: ``field`` (dotted path), ``problem``; nothing was decided or reserved."""

    code = "invalid_request"

    @property
    def field(self) -> str:
        """The dotted name of the field that was refused, empty when the whole message was."""
        return str(self.facts.get("field", ""))


class NotFoundError(AegisError, LookupError):
    """Something named does not exist. Facts: ``kind`` (agent, session, grant, budget, model), ``name``."""

    code = "not_found"


class UnknownModelError(NotFoundError):
    """A model whose price is unknown. It is never taken to be free. Facts: ``name``, ``nearest``."""

    code = "unknown_model"


class ConflictError(AegisError):
    """The same id with other content, or an act on a grant that is already closed otherwise. Facts: ``state``."""

    code = "conflict"


class LockTimeoutError(ConflictError, TimeoutError):
    """A lock was not to be had in the time given. Facts: ``resource``, ``waited_seconds``; nothing is held."""

    code = "lock_timeout"


class LockLostError(ConflictError):
    """A lease is not, or no longer, the caller's. Facts: ``resource``. What it protected may have changed since."""

    code = "lock_lost"


class LockPreemptedError(LockLostError):
    """Somebody with a higher priority gets the lock, or a cycle of waits had to end. Facts: ``resource``, ``until``."""

    code = "lock_preempted"


class AuthError(AegisError, PermissionError):
    """A credential is missing or wrong, or the thing belongs to somebody else."""

    code = "not_authorized"


class PolicyError(AegisError, ValueError):
    """A policy document was refused; the last good one stays. Facts: ``path``, ``line``, ``field``, ``nearest``."""

    code = "invalid_policy"


class ConfigurationError(AegisError):
    """A setting or a server that Aegis refuses to run with. The message holds the command that mends it."""

    code = "misconfigured"


class StoreError(AegisError):
    """Redis did not answer as it must. No decision was made. Facts: ``reason`` (down, slow, read_only, full)."""

    code = "store_unavailable"


class StaleError(StoreError):
    """The script gave the same control answer twice; the state changes faster than it can be read."""

    code = "stale"
