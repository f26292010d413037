"""Agent profiles: what an operator says of agents, by name or pattern. A handshake only narrows it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from aegis_core.protocol.accounts import account
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.fields import Glob, Identifier, Usd, Window
from aegis_core.protocol.parsing import Message, invalid

Pattern = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\w.:@/*-]+$")]


Wallet = Annotated[str, Field(max_length=128), AfterValidator(account)]


class Profile(Message):
    """Ceilings and labels of the agents whose name matches. What is absent is not limited here.

    `settlement` says whether their own word on what they spent can lower a charge: ``trusted`` or ``estimate``; absent,
    those of this process are trusted and those over HTTP are not. `wallets`: the accounts of chains whose transactions
    they may send, on one chain (``eip155:143:0x…``) or on all (``0x…``, base58); none may be sent of others.
    """

    match: Pattern = "*"
    max_priority: Annotated[int, Field(ge=1, le=10)] = 10
    capabilities: tuple[Identifier, ...] | None = Field(default=None, max_length=64)
    budgets: dict[Window, Usd] = Field(default={}, max_length=16)
    labels: dict[Identifier, Identifier] = Field(default={}, max_length=16)
    settlement: Literal["trusted", "estimate"] | None = None
    wallets: tuple[Wallet, ...] = Field(default=(), max_length=64)

    def fits(self, agent: str) -> bool:
        """True when the name matches; ``*`` stands for anything."""
        return Glob.parse(self.match).matches(agent)


class ProfileSet(Message):
    """All profiles of a tenant. An exact name wins, then the longest pattern, then ``*``."""

    profiles: tuple[Profile, ...] = Field(default=(), max_length=10_000)

    def of(self, agent: str) -> Profile:
        """The profile of an agent."""
        fitting = [profile for profile in self.profiles if profile.fits(agent)]
        return max(fitting, key=lambda profile: ("*" not in profile.match, len(profile.match)), default=Profile())

    def with_profile(self, profile: Profile) -> ProfileSet:
        """The same set with one profile added or replaced."""
        others = tuple(each for each in self.profiles if each.match != profile.match)
        return ProfileSet(profiles=(*others, profile))


def load_profiles(text: str) -> ProfileSet:
    """Read a profile set; nothing is the empty set.

    Raises:
        InvalidRequestError: not JSON, or a field that cannot be accepted, by name.
    """
    if not text:
        return ProfileSet()
    try:
        return ProfileSet.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        problem = f"is not JSON (line {error.lineno}, column {error.colno})"
        raise InvalidRequestError(f"profiles: {problem}", field="profiles", problem=problem) from None
    except ValidationError as error:
        raise invalid(error) from None
