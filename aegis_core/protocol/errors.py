"""The errors of Aegis. `aegis_core.errors` shows them as a tree, with the denial that `permit` raises."""

from __future__ import annotations

from typing import Any


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
        return (rebuild, (type(self), self.message, {"code": self.code, **self.facts}))


def rebuild(kind: type[AegisError], message: str, facts: dict[str, Any]) -> AegisError:
    """An error again, for pickle, which keeps positional arguments only; facts are keywords."""
    return kind(message, **facts)


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
    """A lock was not free in the time given. Facts: ``resource``, ``waited_seconds``; nothing is held."""

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
    """Redis cannot be asked, or refused. No decision was made, but for `AnswerLostError`.

    Facts: ``reason`` (down, slow, read_only, full, …).
    """

    code = "store_unavailable"


UNKNOWN = "whether it was carried out is not known."
"""How an error says that something was sent."""


class AnswerLostError(StoreError):
    """What was asked was sent, and its answer never came: whether it was carried out is not known.

    Asking again with the same request id rejoins what was decided, and is charged once. Facts: ``reason``, and of a
    request for permission ``request_id``.

    Attributes:
        sent_at: when it was first sent, by the clock of the event loop, where this process sent it; what is tried again
            ends by the deadline that began then.
    """

    code = "answer_lost"
    sent_at: float | None = None

    def of_request(self, request_id: str) -> AnswerLostError:
        """The same, naming the request."""
        if "request_id" in self.facts:
            return self
        said = self.message.removesuffix(UNKNOWN)
        return AnswerLostError(
            f"{said}whether request {request_id} was decided is not known. Ask again with this request_id: that "
            "rejoins it, and is charged once.",
            **self.facts,
            request_id=request_id,
        )


class StateLostError(StoreError):
    """Redis answers, and what it held of a tenant is gone. Facts: ``tenant``."""

    code = "state_lost"


class StaleError(StoreError):
    """The script gave the same control answer twice; the state changes faster than it can be read."""

    code = "stale"


class ChainError(AegisError):
    """The nodes of a chain cannot be asked, or do not agree. Facts: ``chain``, ``reason`` (unknown, refused)."""

    code = "chain_unavailable"


class ChannelError(AegisError):
    """A channel to operators could not deliver; it is tried again.

    Attributes:
        retry_after: seconds that the other side asked for.
        everything: true when nothing else would arrive now either, so that the whole channel pauses.
        gone: true when what was shown is not there any more, so that it must be shown anew.
        answered: true when the other side is there, and refuses or fails.
    """

    code = "channel_failed"

    def __init__(
        self,
        message: str,
        *,
        retry_after: float = 0,
        everything: bool = True,
        gone: bool = False,
        answered: bool = False,
        **facts: Any,
    ) -> None:
        super().__init__(message, retry_after=retry_after, everything=everything, **facts)
        self.retry_after, self.everything, self.gone, self.answered = retry_after, everything, gone, answered


class LeaseLostError(ConflictError):
    """Another process serves a channel now. Facts: ``channel``."""

    code = "channel_taken"
