"""Reading payloads of any make: mappings, SDK objects, parsed JSON. Nothing here raises on what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from math import isfinite
from typing import Any, cast

from pydantic import ValidationError

from aegis_core.metering.tokens import least_tokens, text_bound, word_bytes
from aegis_core.protocol.fields import identifier
from aegis_core.protocol.money import MAX_USD
from aegis_core.protocol.usage import MOST_CALLS, MOST_TOKENS, CallTokens, Usage

NO_USAGE = "the answer carries no usage"

_NANO = Decimal("1e-9")
_ATOMS = (str, bytes, bytearray, int, float, complex, Decimal)


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a call.

    Attributes:
        usage: the counts, None where there were none or they contradict each other.
        doubts: why the counts cannot be all of the truth, as sentences; with any of them the caller charges the
            reservation and marks it as estimated.
        received_tokens: at most so many tokens of text were received, for streams that end without a count.
        response_id: the provider's name for the answer, by which a later call may refer to it.
        complete: the answer came to its end, although it carries no usage.
    """

    usage: Usage | None
    doubts: tuple[str, ...] = ()
    received_tokens: int = 0
    response_id: str | None = None
    complete: bool = False

    @property
    def exact(self) -> bool:
        """True when the usage may be charged as it is."""
        return self.usage is not None and not self.doubts


def get(holder: object, *names: str) -> Any:
    """The first of several fields that is there and not null: a key of a mapping or an attribute of an object."""
    if holder is None or isinstance(holder, (*_ATOMS, list, tuple)):
        return None
    for name in names:
        if isinstance(holder, Mapping):
            value = cast("Mapping[Any, Any]", holder).get(name)
        else:
            value = getattr(holder, name, None)
        if value is not None and not callable(value):
            return value
    return None


def items(value: object) -> list[Any]:
    """The elements of a list-like value; of anything else none."""
    if value is None or isinstance(value, (Mapping, *_ATOMS)) or not isinstance(value, Iterable):
        return []
    return list(cast("Iterable[Any]", value))


def names_of(holder: object) -> list[str]:
    """The keys of a mapping, or the fields of an SDK's object that the SDK does not know."""
    keys = cast("Mapping[Any, Any]", holder) if isinstance(holder, Mapping) else getattr(holder, "model_extra", None)
    return [key for key in items(list(keys or ())) if isinstance(key, str)]


def text_of(value: object) -> str:
    """A text, or an enumeration's member as its value; of anything else nothing."""
    inner = getattr(value, "value", value) if not isinstance(value, str) else value
    return inner if isinstance(inner, str) else ""


def word_of(value: object) -> str | None:
    """A short name such as a tier's, in lower case; None where there is none."""
    return text_of(value).lower() or None


@dataclass(slots=True)
class Tally:
    """Reads counts and keeps a sentence for each that cannot be one."""

    doubts: list[str] = field(default_factory=list[str])

    def count(self, holder: object, *names: str, most: int = MOST_TOKENS) -> int:
        """A whole number that is not negative; an absent one is 0, and so is what is no number, with a doubt."""
        value = get(holder, *names)
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= most:  # nearly all are
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.doubts.append(f"{names[0]} is {_shown(value)}, which is no count")
            return 0
        if not 0 <= value <= most:
            self.doubts.append(f"{names[0]} is {_shown(value)}, which cannot be")
            return 0
        return value

    def calls(self, holder: object, *names: str) -> int:
        """As `count`, of calls of a hosted tool."""
        return self.count(holder, *names, most=MOST_CALLS)

    def doubt(self, sentence: str) -> None:
        """Keep a reason, once."""
        if sentence not in self.doubts:
            self.doubts.append(sentence)


@dataclass(slots=True)
class ReceivedText:
    """The text that a call answered with: how many tokens it is at most, and how many bytes of words it has."""

    most: int = 0
    words: int = 0
    pieces: int = 0

    def text(self, *values: object) -> None:
        """Take pieces of text in; whatever is none counts for nothing."""
        for value in values:
            if isinstance(value, str) and value:
                self.most += text_bound(value)
                self.words += word_bytes(value)
                self.pieces += 1

    def check(self, tally: Tally, output_tokens: int) -> None:
        """An answer of some length has some tokens."""
        if self.pieces and output_tokens < least_tokens(self.words):
            tally.doubt(f"{output_tokens:,} output tokens are fewer than the text that was received")


def dollars(tally: Tally, holder: object, name: str) -> Decimal | None:
    """An amount of dollars, rounded up to a nano-dollar; None where there is none, with a doubt where it is none."""
    value = get(holder, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not isfinite(value):
        tally.doubt(f"{name} is no amount of dollars")
        return None
    if not 0 <= value <= MAX_USD:
        tally.doubt(f"{name} is an amount of dollars that cannot be")
        return None
    return Decimal(str(value)).quantize(_NANO, rounding=ROUND_CEILING)


def build(tally: Tally, received: ReceivedText, model: object, response_id: object = None, **counts: Any) -> Reading:
    """A reading of counts that were read one by one; what contradicts itself becomes a doubt."""
    name = _model(tally, model)
    usage: Usage | None = None
    if name is not None:
        try:
            usage = Usage(model=name, **counts)
        except ValidationError as error:
            tally.doubt(_contradiction(error))
    if usage is not None:
        received.check(tally, usage.output_tokens + usage.unattributed_tokens)
    return Reading(usage, tuple(tally.doubts), received.most, text_of(response_id) or None)


def tokens(tally: Tally, model: object, **counts: int) -> CallTokens | None:
    """One pass within a call, or a doubt."""
    name = _model(tally, model)
    try:
        return None if name is None else CallTokens(model=name, **counts)
    except ValidationError as error:
        tally.doubt(_contradiction(error))
        return None


def _model(tally: Tally, model: object) -> str | None:
    name = text_of(model)
    if not name:
        tally.doubt("nothing says which model answered")
        return None
    try:
        return identifier(name)
    except ValueError:
        tally.doubt(f"{_shown(name)} is not the name of a model")
        return None


def _contradiction(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    text = first["msg"].removeprefix("Value error, ")
    return f"the counts contradict each other: {where + ': ' if where else ''}{text}"


def _shown(value: object) -> str:
    """A value in a sentence. Integers beyond 4,300 digits have no text, and an object's own may raise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 10**18 else "a number beyond 10^18"
    if isinstance(value, str | float | bool):
        shown = repr(value)
        return shown if len(shown) <= 40 else shown[:37] + "..."
    return f"a {type(value).__name__}"
