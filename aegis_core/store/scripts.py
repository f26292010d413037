"""The Lua scripts: assembled from files once, hashed once, a mistake fails at import of the store.

A verb is a file in ``lua/``, called with what its class in `verbs` names; the parts that verbs share lie in
``lua/lib/``. A line ``--@ part`` stands for a part that only one verb has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Generic, TypeVar

from aegis_core.store import operator_verbs, verbs
from aegis_core.store.arguments import LISTS
from aegis_core.store.layout import CLOCK_KEY
from aegis_core.store.lua_check import check
from aegis_core.store.lua_names import Names
from aegis_core.store.packing import Named

_CORE = ("prelude", "windows", "budgets", "records")
_ENDINGS = "endings"
_LOCKS = ("prelude", "records", "locks", "queues", "handing", "lock_books")
_CLAIMS = (*_LOCKS, "claims")
_INCLUDED = re.compile(r"^--@ (\w+)\n", re.MULTILINE)

VIRTUAL_CLOCK = f"local NOW = tonumber(redis.call('GET', '{CLOCK_KEY}'))\n"
"""Replaces ``clock.lua`` on throw-away servers, for tests and for replaying a trace on its own time."""

_Arguments = TypeVar("_Arguments", bound=Named)


@dataclass(frozen=True, slots=True)
class Script(Generic[_Arguments]):
    """One verb, ready for EVALSHA. `closing` scripts only give back or charge what is held, so they run when full."""

    name: str
    source: bytes
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.source, usedforsecurity=False).hexdigest().encode())


class ScriptSet:
    """All scripts of one store. ``virtual_time`` makes them read the clock of a throw-away server."""

    def __init__(self, *, virtual_time: bool = False, assembly: _Assembly | None = None) -> None:
        self._clock = VIRTUAL_CLOCK if virtual_time else _read("clock")
        make = (assembly or _Assembly(self._clock)).script
        self.authorize = make(verbs.Authorize, rarely_ends=True)
        self.settle = make(verbs.Settle, closing=True)
        self.look = make(verbs.Look, closing=True)
        self.decide = make(verbs.DecideAll, closing=True, each=verbs.Decide)
        self.list_questions = make(verbs.ListQuestions, closing=True)
        self.put_envelope = make(operator_verbs.PutEnvelope)
        self.read_envelopes = make(operator_verbs.ReadEnvelopes)
        self.set_ceiling = make(operator_verbs.SetCeiling)
        self.sweep = make(verbs.Sweep, closing=True)
        self.open_tenant = make(operator_verbs.OpenTenant)
        self.publish_policy = make(operator_verbs.PublishPolicy)
        self.read_policy = make(operator_verbs.ReadPolicy)
        self.handshake = make(verbs.Handshake)
        self.set_budget = make(operator_verbs.SetBudget)
        self.read_budgets = make(operator_verbs.ReadBudgets, closing=True)
        self.list_agents = make(operator_verbs.ListAgents)
        self.publish_profiles = make(operator_verbs.PublishProfiles)
        self.read_profiles = make(operator_verbs.ReadProfiles)
        self.apply_profile = make(operator_verbs.ApplyProfile)
        self.read_session = make(verbs.ReadSession)
        self.brake = make(operator_verbs.Brake, closing=True)
        self.list_open = make(operator_verbs.ListOpen, closing=True)
        self.note = make(operator_verbs.Note)
        self.note_prices = make(operator_verbs.NotePrices)
        self.reset_outcomes = make(operator_verbs.ResetOutcomes)
        self.set_mode = make(operator_verbs.SetMode)
        self.journal = make(verbs.Journal)
        self.put_key = make(operator_verbs.PutKey)
        self.read_keys = make(operator_verbs.ReadKeys)
        self.hold_channel = make(operator_verbs.HoldChannel)
        self.keep_notice = make(operator_verbs.KeepNotice)
        self.refuse_on_channel = make(operator_verbs.RefuseOnChannel)
        self.lock_acquire = make(verbs.LockAcquire, parts=_CLAIMS)
        self.lock_release = make(verbs.LockRelease, parts=_CLAIMS, closing=True)
        self.lock_renew = make(verbs.LockRenew, parts=_LOCKS, closing=True)
        self.lock_force = make(verbs.LockForce, parts=_LOCKS, closing=True)
        self.lock_list = make(verbs.LockList, parts=_LOCKS, closing=True)


class _Assembly:
    """Makes scripts of their parts, under the schema as it is declared now."""

    def __init__(self, clock: str) -> None:
        self._clock = clock
        self._names = Names({prefix: fields._fields for prefix, fields in LISTS.items()})
        self._needed: dict[str, None] = {}
        self._used: list[str] = []
        self.parts: dict[str, str] = {}
        self.made: dict[str, tuple[list[str], list[type[Named]]]] = {}
        """Of each script its parts, and what it is called with."""

    def script(
        self,
        verb: type[_Arguments],
        *,
        parts: tuple[str, ...] = (*_CORE, _ENDINGS),
        closing: bool = False,
        rarely_ends: bool = False,
        each: type[Named] | None = None,
    ) -> Script[_Arguments]:
        """`each`: what a script is called with that this one calls for each of its arguments."""
        name = name_of(verb)
        self._needed, self._used = {}, []
        called: list[type[Named]] = [verb]
        self.made[name] = self._used, called
        texts = {part: self._part(part) for part in parts}
        # Every function that a script defines costs it time on every call, used or not. So what is seldom needed is
        # made when it is: locks where a record ends, and in a decision the endings themselves.
        if _ENDINGS in texts:
            texts[_ENDINGS] = self._when_needed("locking", (*_CLAIMS[2:], "lock_of_record")) + texts[_ENDINGS]
        if rarely_ends:
            names = "sweep, expire, claim, tighten, names, attend, with_standing"
            texts[_ENDINGS] = f"local function endings()\n{texts[_ENDINGS]}return {names}\nend\n"
        if each is not None:
            called.append(each)
            texts["each"] = self._when_needed(f"{name_of(each)}_one", (name_of(each),), head_of(each))
        body = "".join(texts.values()) + head_of(verb) + self._part(name)
        shebang = "#!lua flags=allow-oom\n" if closing else "#!lua\n"
        return Script(name, (shebang + self._clock + self._names.functions(self._needed) + body).encode())

    def _when_needed(self, function: str, parts: tuple[str, ...], head: str = "") -> str:
        """A function that holds other parts, and answers what the last of them makes."""
        return f"local function {function}()\n{head}{''.join(map(self._part, parts))}end\n"

    def _part(self, name: str) -> str:
        if name not in self.parts:
            self.parts[name] = self._names.put_into(_read(name), name)
        self._used.append(name)
        self._needed |= self._names.needed[name]
        return _INCLUDED.sub(lambda line: self._part(line[1]), self.parts[name])


def name_of(verb: type[Named]) -> str:
    """The file of a verb: `LockAcquire` is ``lock_acquire``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", verb.__name__).lower()


def head_of(verb: type[Named]) -> str:
    """The first line of a script: its arguments by name."""
    names = verb._fields
    return f"local {', '.join(names)} = unpack(A, 1, {len(names)})\n" if names else ""


@lru_cache
def _read(name: str) -> str:
    folder = files("aegis_core.store") / "lua"
    verb = folder / f"{name}.lua"
    return (verb if verb.is_file() else folder / "lib" / f"{name}.lua").read_text("utf-8")


def _check() -> None:
    """Of what is shipped every script names only what there is, and all that it is called with."""
    assembly = _Assembly(_read("clock"))
    ScriptSet(assembly=assembly)
    texts = assembly.parts | {"clock": _read("clock")}
    for name, (parts, called) in assembly.made.items():
        check(name, {part: texts[part] for part in ("clock", *parts)}, [each._fields for each in called])


_check()
