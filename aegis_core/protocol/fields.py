"""The kinds of values in messages: names, intents, windows and money, each checked in one place."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.money import MAX_USD, to_nanos, to_usd
from aegis_core.protocol.unicode import normal
from aegis_core.protocol.windows import PATTERN, window_kind

MAX_INTENT = 8_000
"""Characters of a task intent that are judged; a longer one is refused, never cut."""

MAX_NAME_BYTES = 512
"""UTF-8 of a name as it arrives, before anything looks into it; its 128 letters have at most four bytes each."""

MAX_CAPABILITIES_BYTES = 4_096
"""UTF-8 of all capabilities of a session."""

Scalar = str | int | float | bool | None

_IDENTIFIER = re.compile(r"[\w.:@/-]{1,128}")


def identifier(value: str) -> str:
    """NFKC-normalise a name and check its alphabet.

    Raises:
        ValueError: anything but 1 to 128 letters, digits, ``_ . : @ / -``.
    """
    if value.isascii() and _IDENTIFIER.fullmatch(value):
        return value  # the usual case: its normal form is itself
    check_size(value)
    text = normal("NFKC", value)
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError("must be 1 to 128 letters, digits or any of _ . : @ / -")
    return text


def check_size(value: str) -> None:
    """Refuse, before any work on its text, what is too long to be a name.

    Raises:
        ValueError: more than `MAX_NAME_BYTES`.
    """
    if len(value) > MAX_NAME_BYTES or len(value.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ValueError(f"is longer than {MAX_NAME_BYTES} bytes; it must be 1 to 128 letters")


class Glob(NamedTuple):
    """A name, or a pattern in which ``*`` stands for anything. Upper and lower case differ; who folds, folds both.

    The leftmost place of each inner part is the best one, so nothing is tried twice.
    """

    head: str
    inner: tuple[str, ...]
    tail: str | None
    """None: there is no star, so the head is the whole name."""

    @classmethod
    def parse(cls, source: str) -> Glob:
        """Read a name or pattern."""
        head, *parts = source.split("*")
        return cls(head, tuple(parts[:-1]), parts[-1] if parts else None)

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        head, inner, tail = self
        if tail is None:
            return name == head
        at, end = len(head), len(name) - len(tail)
        if end < at or not name.startswith(head) or not name.endswith(tail):
            return False
        for part in inner:
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def _window(value: str) -> str:
    window_kind(value)
    return value


def _carried(text: str) -> None:
    """Refuse half a surrogate pair, which JSON can spell and UTF-8 cannot carry."""
    try:
        _ = text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half a surrogate pair at character {error.start + 1:,}, which is no text") from None


def _kept(value: Scalar) -> Scalar:
    """Refuse an integer that no store or log keeps as it is."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError("is an integer beyond 64 bits; give it as text")
    return value


def _brief(value: dict[str, Scalar]) -> dict[str, Scalar]:
    for name, item in value.items():
        _carried(f"{name}{item}")
    if sum(len(str(item)) for item in value.values()) > 4_096:
        raise ValueError("holds more than 4,096 characters; keep references, not contents")
    return value


def _together(names: tuple[str, ...]) -> tuple[str, ...]:
    """Each session keeps its own, so they are bounded in bytes."""
    if (size := sum(len(name.encode()) for name in names)) > MAX_CAPABILITIES_BYTES:
        raise ValueError(f"take {size:,} bytes together; at most {MAX_CAPABILITIES_BYTES:,} are kept")
    return names


def _usd(value: object) -> Decimal:
    try:
        return to_usd(to_nanos(value, "amount"))
    except InvalidRequestError as error:
        raise ValueError(str(error.facts["problem"])) from None


def _printable(value: str) -> str:
    if len(value) > MAX_INTENT:
        raise ValueError(f"is {len(value):,} characters long; at most {MAX_INTENT:,} are accepted")
    if not value.isascii() and (grown := len(normal("NFKC", value))) > 2 * MAX_INTENT:
        raise ValueError(f"holds signs that stand for {grown:,} characters; at most {2 * MAX_INTENT:,} are accepted")
    if not value.strip():
        raise ValueError("is empty; say in a few words what the agent wants to do")
    _carried(value)
    return value


Identifier = Annotated[
    str, AfterValidator(identifier), WithJsonSchema({"type": "string", "pattern": r"^[\p{L}\p{N}_.:@/-]{1,128}$"})
]
Capabilities = Annotated[tuple[Identifier, ...], Field(max_length=64, fail_fast=True), AfterValidator(_together)]
Intent = Annotated[str, AfterValidator(_printable), Field(min_length=1, max_length=MAX_INTENT)]
Window = Annotated[
    str,
    AfterValidator(_window),
    WithJsonSchema({"type": "string", "pattern": f"^{PATTERN}$"}),
]
Usd = Annotated[
    Decimal,
    PlainValidator(_usd),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MAX_USD},
                {"type": "string", "pattern": r"^\d+(\.\d{1,9})?$"},
            ]
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "number"}, mode="serialization"),
]
Metadata = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[Scalar, AfterValidator(_kept)]],
    Field(max_length=32),
    AfterValidator(_brief),
]

LockToken = Annotated[str, Field(pattern=r"^lk_[0-9a-f]{32}$")]
LockTtl = Annotated[float, Field(ge=0.1, le=3_600, allow_inf_nan=False)]
