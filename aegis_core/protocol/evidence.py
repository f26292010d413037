"""What requests and settlements carry for those who look at decisions afterwards. No rule reads any of it."""

from __future__ import annotations

import re
from time import monotonic
from typing import Annotated

from pydantic import AfterValidator, Field

from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_LENGTH = 55
"""Characters of one."""


def traceparent_in(text: str) -> str | None:
    """The ``traceparent`` that a header says, and None where that is none: a broken trace stops no decision.

    Of a later version than 00 the first four parts are read, as W3C has it.
    https://www.w3.org/TR/trace-context/#versioning-of-traceparent
    """
    head = text[:_LENGTH] if len(text) > _LENGTH and text[_LENGTH] == "-" and text[:2] != "00" else text
    return head if _TRACEPARENT.fullmatch(head) else None


def traceparent(text: str) -> str:
    """Check a W3C ``traceparent``.

    Raises:
        ValueError: it is none.
    """
    if not _TRACEPARENT.fullmatch(text):
        raise ValueError("must be a W3C traceparent, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    return text


Traceparent = Annotated[str, AfterValidator(traceparent), Field(min_length=_LENGTH, max_length=_LENGTH)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]
"""A hash that the caller made. It is stored keyed with a secret of the server, so that nobody can try texts out."""


_LONGEST_MS = 86_400_000


def milliseconds_since(began: float) -> int:
    """How long something has taken that began at this time of `time.monotonic`, as `latency_ms` may say it."""
    return min(int((monotonic() - began) * 1000), _LONGEST_MS)


class RequestEvidence(Message):
    """Of a request: where it stands in a trace, hashes of its prompt and of the part before the last message, the size
    of the prompt where it is priced by tokens, and the arm of an experiment with the chance (0 to 1) at which it was
    drawn."""

    traceparent: Traceparent | None = None
    prompt_hash: Digest | None = None
    prefix_hash: Digest | None = None
    prompt_size_bytes: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    experiment_arm: Identifier | None = None
    propensity: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None


class SettlementEvidence(Message):
    """Of a call that ended: the class of the error it ended in, which attempt it was (from 1) and of which request, and
    how long the provider took."""

    error_class: Identifier | None = None
    attempt: Annotated[int, Field(ge=1, le=1_000)] | None = None
    parent_request_id: Identifier | None = None
    latency_ms: Annotated[int, Field(ge=0, le=_LONGEST_MS)] | None = None
