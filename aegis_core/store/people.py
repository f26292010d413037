"""Persons and keys of the HTTP API as they are stored, what the scripts know of roles, and what events tell of both.
Part of `schema` and `event_bodies`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from aegis_core.protocol.people import RANKS, RESERVED_NAMES
from aegis_core.store.records import Text

PEOPLE: Mapping[str, Any] = {
    "ROLE_RANKS": RANKS,
    "RESERVED_NAMES": dict.fromkeys(sorted(RESERVED_NAMES), True),
    "MOST_PEOPLE": 1_000,
    "MOST_CREDENTIALS": 32,  # of one person
}
"""Constants of the scripts."""


class Key(NamedTuple):
    """An API key, or one of the proxy: its hash, never the key. `revoked` is 0 while it is in force. `terms`: what a
    key of the proxy allows, as JSON. `person`: whose it is, where its role is ``person`` (or, made by an older version,
    ``operator``)."""

    id: str
    role: str
    hash: str
    name: str
    author: str
    made: int
    revoked: int
    terms: Text = False
    person: Text = False


class Person(NamedTuple):
    """A person of a tenant. `fold`: the name as it looks, by which look-alikes are told. `groups`: those that rules may
    ask for. `credentials` that are in force, such as ``telegram:123``; `removed` is 0 for who still belongs here."""

    name: str
    fold: str
    role: str
    groups: Sequence[str]
    credentials: Sequence[str]
    author: str
    made: int
    removed: int


class KeyPut(NamedTuple):
    """An API key was made or revoked."""

    at: int
    key_id: str
    role: Text
    name: Text
    author: str
    person: Text = False


class PersonPut(NamedTuple):
    """A person was added, changed or removed, or got or lost a credential. `nanos`: up to how much the person may
    approve; False: anything."""

    at: int
    person: str
    role: str
    groups: list[str]
    nanos: int | Literal[False]
    credential: Text
    author: str
