"""The scripts as typed functions for one tenant. Control answers are retried here, refusals of access become errors."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar, cast

import hiredis

from aegis_core.protocol.errors import AnswerLostError, StateLostError, StoreError
from aegis_core.store import layout, operator_verbs, verbs
from aegis_core.store.arguments import Ruled
from aegis_core.store.batching import Looks
from aegis_core.store.lost_answers import asked_again
from aegis_core.store.lost_state import see_unregistered
from aegis_core.store.packing import Named, decode, unpack
from aegis_core.store.people import Person
from aegis_core.store.pipeline import UnreachableError
from aegis_core.store.records import Record
from aegis_core.store.refusals import refusal
from aegis_core.store.schema import Config, Session, StoredPolicy
from aegis_core.store.scripts import Script
from aegis_core.store.store import Store
from aegis_core.store.zones import zone_at

_Arguments = TypeVar("_Arguments", bound=Named)


class SessionProof(NamedTuple):
    """Who asks, as far as a credential says: a session and the hash of its token."""

    session: str | None = None
    token: str | None = None


ANYONE = SessionProof()

_MOST_SWEEPS = 4
"""Times that one call ends what is overdue; a grant may become so in every moment between."""


class BudgetRow(NamedTuple):
    """One budget as it stands; ``limit`` is in nano-dollars, ``ends`` in ms (0: never)."""

    owner: str
    kind: str | int
    limit: int
    spent: int
    reserved: int
    ends: int


class OpenedSession(NamedTuple):
    """What a handshake found: policy version, time in ms, the purses of agent, session and tenant, whether the agent's
    profile must be applied first, its ceilings, and the capabilities and priority of the session."""

    policy: int
    opened: int
    agent: list[list[Any]]
    session: list[list[Any]]
    tenant: list[list[Any]]
    outdated: bool
    priority: int
    capabilities: str | Literal[False]
    claimed: str
    claims: int


class Ledger:
    """Typed calls of the scripts for one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store, self.tenant = store, tenant
        self._root = layout.root(tenant)
        self.inbox: Callable[[], str | None] = lambda: None
        """Where this process hears of locks, once it listens."""
        self._looks = Looks(partial(self._look, claims=False))
        self._claims = Looks(partial(self._look, claims=True))

    async def authorize(self, order: verbs.Authorize) -> tuple[str, Any]:
        """Judge one request. Answers ``NEW``/``OLD`` with its `Record`, ``JOINED`` with another one's, or what is to be
        read again: ``STALE`` the policy, ``PROFILE`` the profiles, ``SESSION``, its workflow's ``OPENER``'s profile."""
        if (state := self.store.state).closed:
            await state.admit(self.tenant)
        script = self.store.scripts.authorize
        try:
            answer = await _first_try(self.store.send(script, self._root, order))
        except AnswerLostError as error:
            answer = await self.asked_again(script, order, error)
        if answer is None or answer[0] not in _FINAL:
            answer = await self.call(script, order, answer)
        if answer[0] in _RELOAD:
            return answer[0].decode(), answer[1]
        return answer[0].decode(), decode(Record, unpack(answer[1]))

    async def withdraw(self, order: verbs.Withdraw) -> None:
        """Take back a verdict of which its caller never heard, or what may still become one."""
        await self.call(self.store.scripts.withdraw, order)

    async def settle(self, order: verbs.Settle) -> tuple[Record, bool, bool]:
        """Settle, release or extend, and count an `outcome` for the model that `answered`, where that is known.

        Answers the record, whether it was a repeat, and whether it was late.
        """
        answer = await self.call(self.store.scripts.settle, order)
        return decode(Record, unpack(answer[1])), bool(answer[2]), bool(answer[3])

    async def look(self, grant: str, *, claims: bool = False) -> tuple[Record, int]:
        """The record as it stands now, and the server's time in ms. Its agent `claims` by looking what was approved."""
        blob, now = await (self._claims if claims else self._looks).at(grant)
        if not blob:
            raise refusal("NO_GRANT", [])
        return decode(Record, unpack(blob)), now

    async def claim(self, grant: str, ruled: Ruled) -> Record:
        """`look` with claims at an approved question that newer rules were asked about."""
        order = verbs.Look([grant], claims=True, inbox=self.inbox(), ruled=ruled)
        ((blob, _),) = await _seen(self.begin(self.store.scripts.look, order))
        if not blob:
            raise refusal("NO_GRANT", [])
        return decode(Record, unpack(blob))

    def _look(self, grants: list[str], *, claims: bool) -> Coroutine[object, object, list[tuple[bytes, int]]]:
        return _seen(self.begin(self.store.scripts.look, verbs.Look(grants, claims, self.inbox())))

    async def sweep(self, most: int = 200) -> bool:
        """End up to `most` overdue records; true while more are left."""
        answer = await self.call(self.store.scripts.sweep, verbs.Sweep(most))
        return bool(answer[1])

    async def now(self) -> int:
        """The server's time in ms."""
        return int((await self.call(self.store.scripts.sweep, verbs.Sweep(1)))[2])

    async def open(self, config: Config, zone: str, day_limit: int, document: str, digest: str) -> tuple[int, int]:
        """Make or adjust the tenant; answers its policy version and the server's time in ms."""
        order = operator_verbs.OpenTenant(layout.SCHEMA, config, zone, day_limit, document, digest)
        answer = await self.call(self.store.scripts.open_tenant, order)
        self.store.state.found(self.tenant)
        return int(answer[1]), int(answer[2])

    async def publish_policy(self, document: str, digest: str, author: str, expected: int | None = None) -> int | None:
        """Put a document in force; answers its version. None: another than the expected version was in force."""
        order = operator_verbs.PublishPolicy(document, digest, author, layout.POLICIES_KEPT, None, expected)
        answer = await self.call(self.store.scripts.publish_policy, order)
        return None if answer[0] == b"STALE" else int(answer[1])

    async def read_policy(self) -> tuple[int, str]:
        """Version and text of the document in force."""
        return (await self.visit())[:2]

    async def visit(self) -> tuple[int, str, int]:
        """Version and text of the document in force, and the server's time in ms: what it takes to work for a tenant.

        Raises:
            NotFoundError: there is no such tenant.
        """
        answer = await self.call(self.store.scripts.read_policy, operator_verbs.ReadPolicy(None))
        self.store.state.found(self.tenant)
        policy = decode(StoredPolicy, unpack(answer[1]))
        return policy.version, policy.document, int(answer[3])

    async def read_session(self, agent: str, session: str | None) -> tuple[str, str, str, int, str | Literal[False]]:
        """Session, framework, capabilities (``,a,b,``), highest priority and workflow of who asks."""
        answer = await self.call(self.store.scripts.read_session, verbs.ReadSession(agent, session))
        return tuple(unpack(answer[1]))

    async def handshake(self, order: verbs.OpenSession) -> OpenedSession:
        """Open a session; the same session id and token again find the same session."""
        answer = await self.call(self.store.scripts.open_session, order)
        return OpenedSession._make(unpack(answer[1]))

    async def agent_of(self, caller: SessionProof) -> str:
        """The agent for whom a session token speaks, for calls that are no decision.

        Raises:
            AuthError: the token is wrong or its session has ended.
        """
        blob = await self.store.command("GET", layout.key(self.tenant, f"s:{caller.session}"))
        session = decode(Session, unpack(blob)) if blob else None
        if session is None:
            await self.store.state.check(self.tenant)
        if session is None or not hmac.compare_digest(str(session.token), str(caller.token)):
            raise refusal("BAD_TOKEN", [])
        if session.credential and await self.store.command(
            "HGET", layout.key(self.tenant, "pc"), f"key:{session.credential}"
        ) == b"":  # fmt: skip
            order = operator_verbs.ReadKeys(session.credential)
            people = unpack((await self.call(self.store.scripts.read_keys, order))[1])[2]
            if not people or not people[0] or decode(Person, people[0]).removed:
                raise refusal("BAD_TOKEN", [])
        return session.agent

    async def journal(self, order: verbs.WriteJournal) -> tuple[str, int, str | bool, int]:
        """Write or read one line of the execution journal: its state, when (ms), its result, and a count."""
        return tuple(unpack((await self.call(self.store.scripts.write_journal, order))[1]))

    async def set_budget(
        self, owner: str, agent: str | None, session: str | None, kind: str | int, limit: int, author: str
    ) -> BudgetRow:
        """Set one limit."""
        order = operator_verbs.SetBudget(owner, agent, session, kind, limit, author)
        answer = await self.call(self.store.scripts.set_budget, order)
        return BudgetRow._make(unpack(answer[1]))

    async def read_budgets(self, agent: str | None, session: str | None) -> tuple[str | None, list[BudgetRow]]:
        """The session looked at, and every budget that bounds the agent (or all shared ones)."""
        answer = await self.call(self.store.scripts.read_budgets, operator_verbs.ReadBudgets(agent, session))
        found, rows = unpack(answer[1])
        return found or None, [BudgetRow._make(row) for row in rows]

    async def list_agents(self, after: str | None, most: int) -> list[list[Any]]:
        """A page of agents by name."""
        answer = await self.call(self.store.scripts.list_agents, operator_verbs.ListAgents(after, most))
        return unpack(answer[1])

    async def usage(self, day: int) -> dict[str, int]:
        """The raw bill of one day: ``agent \\t resource \\t model \\t labels \\t $|n`` to nano-dollars or calls."""
        flat: Any = await self.store.command("HGETALL", layout.key(self.tenant, f"u:{day}"))
        pairs: Any = flat.items() if hasattr(flat, "items") else zip(flat[::2], flat[1::2], strict=True)
        return {name.decode(): int(value) for name, value in pairs}

    async def newest_event(self) -> str:
        """The id of the newest event, ``0-0`` before the first."""
        entries: Any = await self.store.command("XREVRANGE", layout.key(self.tenant, "e"), "+", "-", "COUNT", 1)
        return entries[0][0].decode() if entries else "0-0"

    async def latest_events(self, most: int) -> list[tuple[str, dict[bytes, bytes]]]:
        """The newest events, oldest of them first, with what is only counted until now."""
        await self.tell_counted()
        entries: Any = await self.store.command("XREVRANGE", layout.key(self.tenant, "e"), "+", "-", "COUNT", most)
        return _decoded(entries[::-1])

    async def events(self, after: str, most: int, block_ms: int | None = None) -> list[tuple[str, dict[bytes, bytes]]]:
        """Events after an id (``0`` from the oldest kept, ``$`` from now), oldest first."""
        name = layout.key(self.tenant, "e")
        parts: list[Any] = ["XREAD", "COUNT", most]
        if block_ms is not None:
            parts += ["BLOCK", block_ms]
        answer: Any = await self.store.command(*parts, "STREAMS", name, after)
        if not answer:
            return []
        entries: Any = next(iter(answer.values()))[0] if hasattr(answer, "values") else answer[0][1]
        return _decoded(entries)

    async def all_events(self, after: str, most: int, block_ms: int | None) -> list[tuple[str, dict[bytes, bytes]]]:
        """`events`; to who has read all of them, what is only counted until now is told, too."""
        found = await self.events(after, most, block_ms)
        if found or after == "$":
            return found
        await self.tell_counted()
        return await self.events(after, most)

    async def words(self, places: Sequence[tuple[str, str]]) -> list[list[bytes] | None]:
        """What agents wrote, by agent and event: words and salt, None where they are kept no longer."""
        return (await self.call(self.store.scripts.read_words, operator_verbs.ReadWords(places)))[1]

    async def tell_counted(self) -> int:
        """Tell of refusals that are only counted until now; answers the server's time in ms, 0 where nothing can be
        written now, for what is there can be read all the same."""
        try:
            return int((await self.call(self.store.scripts.sweep, verbs.Sweep(200, early=True)))[2])
        except StateLostError:
            raise
        except StoreError:
            return 0

    def begin(self, script: Script[_Arguments], arguments: _Arguments) -> Coroutine[object, object, Any]:
        """`call`, on its way to the server before anybody awaits it."""
        return self.call(script, arguments, sent=self.store.send(script, self._root, arguments))

    async def call(
        self, script: Script[_Arguments], arguments: _Arguments, answer: Any = None,
        sent: asyncio.Future[Any] | None = None,
    ) -> Any:  # fmt: skip
        """Run a script; answer its control answers, and ask again within the deadline where its reply was lost."""
        zone, sweeps = None, 0
        if ":" in (getattr(arguments, "author", None) or "") and type(arguments) not in _BY_CREDENTIAL:
            arguments = cast("Any", arguments)._replace(author=await self._person_of(cast("Any", arguments).author))
        if self.store.state.lost:
            await self.store.state.check(self.tenant)
        while True:
            try:
                answer = answer or await self.store.run(script, self._root, arguments, zone, sent)
            except AnswerLostError as error:
                answer = await self.asked_again(script, arguments, error, zone)
            word = answer[0]
            if word in _FINAL:
                return answer
            if word == b"ZONE" and zone is None:
                zone = zone_at(answer[2].decode(), int(answer[1]))
                answer, sent = None, None
            elif word == b"SWEEP" and sweeps < _MOST_SWEEPS:
                sweeps, answer, sent = sweeps + 1, None, None
                while await self.sweep():
                    pass
            elif word == b"NO_TENANT" and self.store.state.knows(self.tenant):
                raise self.store.state.gone(self.tenant)
            else:
                if word == b"NO_AGENT":
                    await see_unregistered(self.store, self.tenant, getattr(arguments, "agent", None))
                raise refusal(word.decode(), answer)

    async def _person_of(self, by: str) -> str:
        """The one name under which a person acts, whatever the door: that behind a credential, else the credential."""
        name = await self.store.command("HGET", layout.key(self.tenant, "pc"), by)
        if name == b"":
            raise refusal("CREDENTIAL_ENDED", [])
        return name.decode() if name else by

    async def asked_again(
        self, script: Script[_Arguments], arguments: _Arguments, error: AnswerLostError, zone: Any = None
    ) -> Any:
        """`lost_answers.asked_again` of this tenant."""
        return await asked_again(self.store, self._root, script, arguments, error, zone)


async def _first_try(sent: asyncio.Future[Any] | None) -> Any:
    """What came of `Store.send`; None when the server refused it or was not asked, which `call` then finds out.

    Raises:
        AnswerLostError: as `Store.run`.
    """
    if sent is None:
        return None
    try:
        return await sent
    except (hiredis.ReplyError, UnreachableError):
        return None


async def _seen(answer: Coroutine[object, object, Any]) -> list[tuple[bytes, int]]:
    _, blobs, now = await answer
    return [(blob, int(now)) for blob in blobs]


def _decoded(entries: Any) -> list[tuple[str, dict[bytes, bytes]]]:
    return [(entry_id.decode(), dict(fields)) for entry_id, fields in entries]


_BY_CREDENTIAL = frozenset({operator_verbs.PutEnvelope, operator_verbs.SetCeiling})
"""Whose scripts look up themselves who the author is, and what that person may."""
_RELOAD = frozenset({b"STALE", b"PROFILE", b"SESSION", b"OPENER"})
_FINAL = frozenset({b"NEW", b"OLD", b"JOINED", b"OK"}) | _RELOAD
