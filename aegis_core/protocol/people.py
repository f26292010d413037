"""Persons: who may do what in a tenant, by which name, with which credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from aegis_core.protocol.fields import Identifier, Usd, identifier
from aegis_core.protocol.lookalikes import LOOKALIKES
from aegis_core.protocol.parsing import Message
from aegis_core.protocol.unicode import normal
from aegis_core.protocol.writing import mixed_scripts

PersonRole = Literal["viewer", "approver", "operator", "owner"]
RANKS = {"viewer": 1, "approver": 2, "operator": 3, "owner": 4}
"""The roles of persons. Each may do what those before it may."""

RESERVED_NAMES = frozenset(
    ("aegis", "agent", "anybody", "approver", "carried_over", "cli", "defaults", "everybody", "nobody", "operator",
     "owner", "person", "system", "telegram", "unknown", "viewer", "webhook")
)  # fmt: skip
"""Names that no person can have: events and rules use them for something else."""

_TELEGRAM = re.compile(r"[1-9]\d{0,19}", re.ASCII)
_KEY = re.compile(r"k[0-9a-f]{16}")
_ALIKE = str.maketrans("l10", "iio")


def person_name(value: str) -> str:
    """A person's name, NFKC-normalised: one whose letters are of one script, and that names nothing else.

    Raises:
        ValueError: it holds a colon, as credentials do; it is reserved, or mixes scripts.
    """
    name = identifier(value)
    if ":" in name:
        raise ValueError("holds a colon, as only credentials do (telegram:123); give the person's name")
    if fold(name) in _RESERVED_FOLDS:
        raise ValueError("is reserved, or looks like a name that is")
    if mixed := mixed_scripts(name):
        raise ValueError(f"mixes {mixed}, so it could be taken for another name; write it in one script")
    return name


def fold(name: str) -> str:
    """A name as it looks: equal for two that can be taken for each other, such as ``ada-1`` and ``Ada-l``."""
    return normal("NFKC", name).translate(LOOKALIKES).casefold().translate(_ALIKE)


_RESERVED_FOLDS = frozenset(map(fold, RESERVED_NAMES))


def credential(value: str) -> str:
    """A credential as persons have it: ``telegram:ID``, ``cli:USER`` or ``key:ID``.

    Raises:
        ValueError: it is none of these.
    """
    kind, colon, rest = identifier(value).partition(":")
    if not colon or not (
        (kind == "telegram" and _TELEGRAM.fullmatch(rest))
        or (kind == "cli" and rest)
        or (kind == "key" and _KEY.fullmatch(rest))
    ):
        raise ValueError("must be telegram:USER_ID, cli:USER (of the terminal) or key:KEY_ID")
    return f"{kind}:{rest}"


PersonName = Annotated[
    str,
    AfterValidator(person_name),
    WithJsonSchema({"type": "string", "pattern": r"^[\p{L}\p{N}_.@/-]{1,128}$"}),
]
GroupName = Annotated[
    str, AfterValidator(person_name), WithJsonSchema({"type": "string", "pattern": r"^[\p{L}\p{N}_.@/-]{1,128}$"})
]
Groups = Annotated[tuple[GroupName, ...], Field(max_length=32)]
Credential = Annotated[
    str, AfterValidator(credential), WithJsonSchema({"type": "string", "pattern": r"^(telegram|cli|key):.{1,120}$"})
]


class PersonWish(Message):
    """A person to add. `telegram`: a user id; `terminal`: a user of the machine where `aegis` is run with Redis."""

    name: PersonName
    role: PersonRole = "viewer"
    groups: Groups = ()
    telegram: Annotated[int, Field(ge=1, lt=10**20)] | None = None
    terminal: Identifier | None = None
    approve_up_to_usd: Usd | None = None

    @property
    def credentials(self) -> tuple[str, ...]:
        """Those that are given."""
        given = (self.telegram and f"telegram:{self.telegram}", self.terminal and f"cli:{self.terminal}")
        return tuple(each for each in given if each)


class PersonChange(Message):
    """What becomes another of a person; what is not given stays. `approve_up_to_usd` null lifts the limit."""

    role: PersonRole | None = None
    groups: Groups | None = None
    approve_up_to_usd: Usd | None = None


class CredentialWish(Message):
    """A credential to add: a new key, or who may speak for the person elsewhere."""

    kind: Literal["key", "telegram", "terminal"]
    telegram: Annotated[int, Field(ge=1, lt=10**20)] | None = None
    terminal: Identifier | None = None

    @model_validator(mode="after")
    def _whole(self) -> CredentialWish:
        for kind, value in (("telegram", self.telegram), ("terminal", self.terminal)):
            if (self.kind == kind) != (value is not None):
                needed = "says whose account it is" if self.kind == kind else f"belongs to the kind {kind} only"
                raise ValueError(f"{kind}: {needed}")
        return self

    @property
    def name(self) -> str:
        """The credential, of Telegram or a terminal."""
        return f"telegram:{self.telegram}" if self.kind == "telegram" else f"cli:{self.terminal}"


@dataclass(frozen=True, slots=True)
class Person:
    """Who may do what. `credentials`: those in force. `approve_up_to_usd`: None for any amount."""

    name: str
    role: PersonRole
    groups: tuple[str, ...]
    credentials: tuple[str, ...]
    approve_up_to_usd: Usd | None
    author: str
    made_at: datetime
    removed_at: datetime | None = None
