"""The Lua scripts: assembled from files once, hashed once, a mistake fails at import of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files

from aegis_core.store.layout import CLOCK_KEY, with_positions

_CORE = ("prelude", "windows", "budgets", "records")
_ENDINGS = "endings"
_LOCKS = ("prelude", "records", "locks")
_CLAIMS = (*_LOCKS, "claims")

VIRTUAL_CLOCK = f"local NOW = tonumber(redis.call('GET', '{CLOCK_KEY}'))\n"
"""Replaces ``clock.lua`` on throw-away servers, for tests and for replaying a trace on its own time."""


@dataclass(frozen=True, slots=True)
class Script:
    """One verb, ready for EVALSHA. `closing` scripts only give back or charge what is held, so they run when full."""

    name: str
    source: bytes
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.source, usedforsecurity=False).hexdigest().encode())


class ScriptSet:
    """All scripts of one store. ``virtual_time`` makes them read the clock of a throw-away server."""

    def __init__(self, *, virtual_time: bool = False) -> None:
        self._clock = VIRTUAL_CLOCK if virtual_time else _read("clock")
        self.authorize = self._assemble("authorize", rarely_ends=True)
        self.settle = self._assemble("settle", closing=True)
        self.look = self._assemble("look", closing=True)
        self.decide = self._assemble("decide_all", closing=True, after=_when_needed("decide_one", (), "decide"))
        self.list_questions = self._assemble("list_questions", closing=True)
        self.put_envelope = self._assemble("put_envelope")
        self.read_envelopes = self._assemble("read_envelopes")
        self.set_ceiling = self._assemble("set_ceiling")
        self.sweep = self._assemble("sweep", closing=True)
        self.open_tenant = self._assemble("open_tenant")
        self.publish_policy = self._assemble("publish_policy")
        self.read_policy = self._assemble("read_policy")
        self.handshake = self._assemble("handshake")
        self.set_budget = self._assemble("set_budget")
        self.read_budgets = self._assemble("read_budgets", closing=True)
        self.list_agents = self._assemble("list_agents")
        self.publish_profiles = self._assemble("publish_profiles")
        self.read_profiles = self._assemble("read_profiles")
        self.apply_profile = self._assemble("apply_profile")
        self.read_session = self._assemble("read_session")
        self.brake = self._assemble("brake", closing=True)
        self.list_open = self._assemble("list_open", closing=True)
        self.note = self._assemble("note")
        self.note_prices = self._assemble("note_prices")
        self.reset_outcomes = self._assemble("reset_outcomes")
        self.set_mode = self._assemble("set_mode")
        self.journal = self._assemble("journal")
        self.put_key = self._assemble("put_key")
        self.read_keys = self._assemble("read_keys")
        self.hold_channel = self._assemble("hold_channel")
        self.keep_notice = self._assemble("keep_notice")
        self.refuse_on_channel = self._assemble("refuse_on_channel")
        self.lock_acquire = self._assemble("lock_acquire", parts=_CLAIMS)
        self.lock_release = self._assemble("lock_release", parts=_CLAIMS, closing=True)
        self.lock_renew = self._assemble("lock_renew", parts=_LOCKS, closing=True)
        self.lock_force = self._assemble("lock_force", parts=_LOCKS, closing=True)
        self.lock_list = self._assemble("lock_list", parts=_LOCKS, closing=True)

    def _assemble(
        self,
        name: str,
        *,
        parts: tuple[str, ...] = (*_CORE, _ENDINGS),
        closing: bool = False,
        rarely_ends: bool = False,
        after: str = "",
    ) -> Script:
        texts = {part: _read(part) for part in parts}
        # Every function that a script defines costs it time on every call, used or not. So what is seldom needed is
        # made when it is: locks where a record ends, and in a decision the endings themselves.
        if _ENDINGS in texts:
            texts[_ENDINGS] = _when_needed("locking", ("locks", "claims"), "lock_of_record") + texts[_ENDINGS]
        if rarely_ends:
            names = "sweep, expire, claim, tighten, names, attend, with_standing"
            texts[_ENDINGS] = f"local function endings()\n{texts[_ENDINGS]}return {names}\nend\n"
        body = self._clock + "".join(texts.values()) + after + _read(name)
        shebang = "#!lua flags=allow-oom\n" if closing else "#!lua\n"
        return Script(name, (shebang + with_positions(body)).encode())


def _when_needed(function: str, parts: tuple[str, ...], result: str) -> str:
    """A function that holds other parts, and answers what the last of them makes."""
    return f"local function {function}()\n{''.join(map(_read, (*parts, result)))}end\n"


def _read(name: str) -> str:
    return (files("aegis_core.store") / "lua" / f"{name}.lua").read_text("utf-8")
