"""The Lua scripts: assembled from files once into one library of functions.

A verb is a file in ``lua/``, called with what its class in `verbs` names; the parts that verbs share lie in
``lua/lib/``. A line ``--@ part`` stands for a part that only one verb has.

A server loads a library once (FUNCTION LOAD), so that what it defines costs no call anything. The library is named by
its hash: those of several versions of Aegis, or of shipped and virtual time, lie side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Generic, TypeVar

from aegis_core.store import experiment_verbs, operator_verbs, proposal_verbs, server_verbs, verbs, workflow_verbs
from aegis_core.store.arguments import LISTS
from aegis_core.store.layout import CLOCK_KEY
from aegis_core.store.lua_names import LuaNames
from aegis_core.store.packing import Named
from aegis_core.store.schema import KINDS

_PARTS = (
    "prelude", "words", "windows", "budgets", "records", "rate", "repeated", "doors",
    "locks", "queues", "handing", "lock_books", "claims", "lock_of_record",
    "people", "flows", "lifecycle", "flow_ends", "learning",
)  # fmt: skip
"""What all verbs share, in the order in which it is defined."""
_INCLUDED = re.compile(r"^--@ (\w+)\n", re.MULTILINE)

LIBRARIES = "aegis_"
"""How the names of libraries begin."""

VIRTUAL_CLOCK = f"  NOW = tonumber(call('GET', '{CLOCK_KEY}'))\n"
"""Replaces ``clock.lua`` on throw-away servers, for tests and for replaying a trace on its own time."""

_Arguments = TypeVar("_Arguments", bound=Named)


@dataclass(frozen=True, slots=True)
class Script(Generic[_Arguments]):
    """One verb, ready for FCALL.

    Attributes:
        name: of the verb.
        function: its name on the server.
    """

    name: str
    function: bytes


class ScriptSet:
    """All verbs of one store. ``virtual_time`` makes them read the clock of a throw-away server.

    Attributes:
        library: the name of the library that holds them.
        source: that library, for FUNCTION LOAD.
    """

    def __init__(self, *, virtual_time: bool = False) -> None:
        assembly = _assembled(virtual_time, _read, tuple(kind.fields._fields for kind in KINDS))
        self.library, self.source = assembly.library, assembly.source
        make = assembly.script
        self.authorize = make(verbs.Authorize)
        self.withdraw = make(verbs.Withdraw)
        self.settle = make(verbs.Settle)
        self.look = make(verbs.Look)
        self.decide = make(verbs.DecideAll)
        self.list_questions = make(verbs.ListQuestions)
        self.take_question = make(verbs.TakeQuestion)
        self.sweep = make(verbs.Sweep)
        self.accept_loss = make(verbs.AcceptLoss)
        self.open_session = make(verbs.OpenSession)
        self.read_session = make(verbs.ReadSession)
        self.hold_rollups = make(verbs.HoldRollups)
        self.commit_rollups = make(verbs.CommitRollups)
        self.commit_kaizen = make(verbs.CommitKaizen)
        self.rewrite_kaizen = make(verbs.RewriteKaizen)
        self.note_pair = make(experiment_verbs.NotePair)
        self.put_experiment = make(experiment_verbs.PutExperiment)
        self.put_proposal = make(proposal_verbs.PutProposal)
        self.trim_events = make(verbs.TrimEvents)
        self.write_journal = make(verbs.WriteJournal)
        self.lock_acquire = make(verbs.LockAcquire)
        self.lock_release = make(verbs.LockRelease)
        self.lock_renew = make(verbs.LockRenew)
        self.lock_force = make(verbs.LockForce)
        self.lock_list = make(verbs.LockList)
        self._make_operators(assembly)
        self.open_workflow = make(workflow_verbs.OpenWorkflow)
        self.invite_workflow = make(workflow_verbs.InviteWorkflow)
        self.end_workflow = make(workflow_verbs.EndWorkflow)
        self.narrow_workflow = make(workflow_verbs.NarrowWorkflow)
        self.read_workflows = make(workflow_verbs.ReadWorkflows)

    def _make_operators(self, assembly: _Assembly) -> None:
        """What operators, channels and readers call."""
        make = assembly.script
        self.put_envelope = make(operator_verbs.PutEnvelope)
        self.read_envelopes = make(operator_verbs.ReadEnvelopes)
        self.set_ceiling = make(operator_verbs.SetCeiling)
        self.open_tenant = make(operator_verbs.OpenTenant)
        self.publish_policy = make(operator_verbs.PublishPolicy)
        self.read_policy = make(operator_verbs.ReadPolicy)
        self.set_budget = make(operator_verbs.SetBudget)
        self.reset_budget = make(operator_verbs.ResetBudget)
        self.read_budgets = make(operator_verbs.ReadBudgets)
        self.list_agents = make(operator_verbs.ListAgents)
        self.publish_profiles = make(operator_verbs.PublishProfiles)
        self.read_profiles = make(operator_verbs.ReadProfiles)
        self.apply_profile = make(operator_verbs.ApplyProfile)
        self.brake = make(operator_verbs.Brake)
        self.list_open = make(operator_verbs.ListOpen)
        self.note = make(operator_verbs.Note)
        self.forget_questions = make(operator_verbs.ForgetQuestions)
        self.forget = make(operator_verbs.Forget)
        self.read_words = make(operator_verbs.ReadWords)
        self.note_prices = make(operator_verbs.NotePrices)
        self.refund = make(operator_verbs.Refund)
        self.note_forecasts = make(operator_verbs.NoteForecasts)
        self.note_estimates = make(operator_verbs.NoteEstimates)
        self.reset_outcomes = make(operator_verbs.ResetOutcomes)
        self.set_mode = make(operator_verbs.SetMode)
        self.note_server = make(server_verbs.NoteServer)
        self.put_key = make(operator_verbs.PutKey)
        self.read_keys = make(operator_verbs.ReadKeys)
        self.put_person = make(operator_verbs.PutPerson)
        self.read_people = make(operator_verbs.ReadPeople)
        self.hold_channel = make(operator_verbs.HoldChannel)
        self.follow = make(verbs.Follow)
        self.put_gas = make(operator_verbs.PutGas)
        self.tell_channel = make(operator_verbs.TellChannel)
        self.keep_notice = make(operator_verbs.KeepNotice)
        self.refuse_on_channel = make(operator_verbs.RefuseOnChannel)
        self.note_login = make(operator_verbs.NoteLogin)
        self.hold_delivery = make(operator_verbs.HoldDelivery)
        self.commit_delivery = make(operator_verbs.CommitDelivery)
        self.fail_delivery = make(operator_verbs.FailDelivery)
        self.replay_delivery = make(operator_verbs.ReplayDelivery)


_CLOSING = {
    verbs.Withdraw, verbs.Settle, verbs.Follow, verbs.Look, verbs.DecideAll, verbs.ListQuestions, verbs.Sweep,
    operator_verbs.ReadBudgets, operator_verbs.ReadKeys, operator_verbs.Brake, operator_verbs.ListOpen,
    verbs.LockRelease, verbs.LockRenew, verbs.LockForce, verbs.LockList, verbs.TakeQuestion, workflow_verbs.EndWorkflow,
}  # fmt: skip
"""Verbs that only give back or charge what is held, or are asked before those: they run when the server is full."""


class _Assembly:
    """Makes the library of its parts, under the schema as it is declared now.

    Attributes:
        parts: the text of each part and verb.
        made: of each verb the parts that are its own, and what it is called with.
    """

    def __init__(self, *, virtual_time: bool = False) -> None:
        self._names = LuaNames({prefix: fields._fields for prefix, fields in LISTS.items()})
        self._needed: dict[str, None] = {}
        self._used: list[str] = []
        self._virtual_time = virtual_time
        self.parts: dict[str, str] = {}
        self.made: dict[str, tuple[list[str], list[type[Named]]]] = {}
        texts = [*map(self._part, _PARTS), *map(self._verb, _all_verbs())]
        defined = "".join((self._names.functions(self._needed), *texts))
        self.library = LIBRARIES + sha1(defined.encode(), usedforsecurity=False).hexdigest()[:16]
        self.source = f"#!lua name={self.library}\n{defined.replace(_LIBRARY, self.library)}".encode()

    def script(self, verb: type[_Arguments]) -> Script[_Arguments]:
        """A verb of the library."""
        name = name_of(verb)
        return Script(name, f"{self.library}_{name}".encode())

    def _verb(self, verb: type[Named]) -> str:
        name, flags = name_of(verb), ", flags = {'allow-oom'}" if verb in _CLOSING else ""
        if verb is operator_verbs.ReadWords:  # events are read on a server that takes no writes, too
            flags = ", flags = {'no-writes'}"
        self._used, called = [], [verb]
        self.made[name] = self._used, called
        each = ""
        if verb is verbs.DecideAll:  # calls another one for each of its arguments
            called.append(verbs.Decide)
            each = f"local function decide_one()\n{head_of(verbs.Decide)}{self._part('decide')}end\n"
        body = f"function(keys, arguments)\nbegin(keys, arguments)\n{head_of(verb)}{self._part(name)}end"
        facts = f"function_name = '{_LIBRARY}_{name}'{flags}, callback = {body}"
        return f"do\n{each}redis.register_function{{{facts}}}\nend\n"

    def _part(self, name: str) -> str:
        if name not in self.parts:
            text = VIRTUAL_CLOCK if self._virtual_time and name == "clock" else _read(name)
            self.parts[name] = self._names.put_into(text, name)
        self._used.append(name)
        self._needed |= self._names.needed[name]
        return _INCLUDED.sub(lambda line: self._part(line[1]), self.parts[name])


@lru_cache(maxsize=8)
def _assembled(virtual_time: bool, _source: Callable[[str], str], _schema: tuple[tuple[str, ...], ...]) -> _Assembly:
    """The library, made once in a process of one source of parts and one schema: that takes 15 ms."""
    return _Assembly(virtual_time=virtual_time)


_LIBRARY = "LIBRARY"
"""Stands for the library's name, which is the hash of all the rest."""


def _all_verbs() -> list[type[Named]]:
    """Every verb, which is a class of arguments with a file of its own."""
    rooms = (verbs, operator_verbs, experiment_verbs, proposal_verbs, workflow_verbs, server_verbs)
    found = [each for room in rooms for each in vars(room).values() if isinstance(each, type)]
    lua = files("aegis_core.store") / "lua"
    return [each for each in found if hasattr(each, "_fields") and (lua / f"{name_of(each)}.lua").is_file()]


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
