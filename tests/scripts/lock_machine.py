"""The state machine of locks: three agents, three locks, a clock that the machine moves, and a real server.

There is no second implementation to compare with. After each call the whole keyspace is read, and compared with what
it was before, with what the call was told, and with what must hold of any locks at all.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition

from aegis_core.connect import open_governor
from aegis_core.protocol.errors import AegisError, AuthError, ConflictError, NotFoundError, StoreError
from aegis_core.protocol.messages import Handshake
from aegis_core.store import layout
from aegis_core.store.ledger import SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.locks import LockClaim, LockStore
from aegis_core.testing import private_settings

from . import lock_walk as walk
from .bench import Bench
from .recording import first_step, step

AGENTS, LOCKS = ["ann", "bob", "cy"], ["a", "b", "c"]
START = 1_775_000_000_000
TTLS = [5_000, 20_000, 20_000, 60_000]
STEPS = [1, 100, 999, 1_500, 3_000, 5_000, 9_999, 10_000, 14_999, 15_000, 20_000, 60_000, 91_000]
ENDINGS = ("released", "expired", "evicted", "unclaimed", "forced")

agents, locks, pick = st.sampled_from(AGENTS), st.sampled_from(LOCKS), st.integers(0, 63)
known = precondition(lambda self: self.claims)


class Known:
    """A claim that was made, and what the machine knows of it by itself."""

    def __init__(
        self, agent: str, names: tuple[str, ...], priority: int, asked: tuple[int, int], chained: bool
    ) -> None:
        self.agent, self.names, self.priority, self.asked, self.chained = agent, names, priority, asked, chained
        self.chain: object = object()
        self.fences: dict[str, int] = {}

    def before(self, other: Known) -> bool:
        """True when it may not be overtaken by `other`: by the moment of asking, less a step for each priority.

        Whoever asks in one millisecond is told apart by thousandths, so two priorities whose moments come out equal may
        go either way.
        """
        mine, theirs = (claim.asked[0] - claim.priority * walk.STEP for claim in (self, other))
        return mine < theirs or (mine == theirs and self.priority == other.priority and self.asked[1] < other.asked[1])


class LockMachine(RuleBasedStateMachine):
    """`bench` is set by `lock_machine_on`."""

    bench: ClassVar[Bench]
    examples: ClassVar[int]
    steps: ClassVar[int]
    looks: ClassVar[tuple[str, ...]] = ()

    @first_step(
        sizes=st.tuples(*[st.sampled_from([1, 1, 2, 3])] * 3),
        kinds=st.tuples(*[st.sampled_from(["after_grace", "after_grace", "never", "cooperative"])] * 3),
    )
    def begin(self, sizes: tuple[int, ...], kinds: tuple[str, ...]) -> None:
        self.sizes, self.kinds = dict(zip(LOCKS, sizes, strict=True)), dict(zip(LOCKS, kinds, strict=True))
        type(self).examples += 1
        self.tenant, self.now = f"k-{uuid4().hex[:12]}", START
        self.claims: dict[str, Known] = {}
        self.count, self.highest = 0, 0
        self._set_clock()
        settings = private_settings(url=self.bench.settings.url, tenant=self.tenant, session_idle_seconds=40 * 86_400)
        self.governor = self.bench.run(open_governor(self.bench.store, settings))
        for agent in AGENTS:
            self.bench.run(self.governor.handshake(Handshake(agent_id=agent, max_priority=10)))
        self.book = LockStore(self.governor._ledger)
        self.after = walk.tallied(self.bench.plain, self.tenant, "-")[1]
        self.locks: dict[str, walk.Lock] = {}

    def teardown(self) -> None:
        if hasattr(self, "governor"):
            self.bench.run(self.governor.aclose())
            self.bench.plain.delete(*self.bench.plain.keys(f"ae:{{{self.tenant}}}:*"))

    def _set_clock(self) -> None:
        self.bench.plain.set(layout.CLOCK_KEY, self.now)

    # --- what happens

    @step(by=st.sampled_from(STEPS))
    def wait(self, by: int) -> None:
        self.now += by
        self._set_clock()

    @step(number=pick, early=st.sampled_from([0, 0, 1]))
    def wait_for_an_expiry(self, number: int, early: int) -> None:
        ends = sorted(
            moment
            for lock in self.locks.values()
            for one in (*lock.holders.values(), *lock.waiters.values())
            if (moment := one.get("EXPIRES", one.get("ALIVE"))) > self.now
        )
        if ends:
            self.now = ends[number % len(ends)] - early
            self._set_clock()

    @step(
        agent=agents, name=locks, priority=st.sampled_from([1, 5, 5, 9]), permits=st.sampled_from([None, 1, 2, 3]),
        weight=st.sampled_from([1, 1, 1, 2]), shared=st.sampled_from([False, False, False, True]),
        preemption=st.sampled_from([None, None, "never", "cooperative", "after_grace"]), ttl=st.sampled_from(TTLS),
        queue=st.sampled_from([True, True, True, False]), grace=st.sampled_from([None, None, None, 50, 1_000]),
    )  # fmt: skip
    def acquire(self, agent: str, name: str, ttl: int, queue: bool, **wish: Any) -> None:
        self._acquire(agent, (name,), ttl, queue, (), **wish)

    @step(agent=agents, name=locks, ttl=st.sampled_from(TTLS), priority=st.sampled_from([5, 5, 5, 1, 9]))
    def acquire_plainly(self, agent: str, name: str, ttl: int, priority: int) -> None:
        """As this example's locks are."""
        self._acquire(
            agent, (name,), ttl, True, (), priority=priority, permits=self.sizes[name], preemption=self.kinds[name]
        )

    acquire_again = acquire_plainly

    @step(agent=agents, leave_out=st.sampled_from([None, *LOCKS]), priority=st.sampled_from([5, 5, 9]))
    def acquire_several(self, agent: str, leave_out: str | None, priority: int) -> None:
        names = tuple(name for name in LOCKS if name != leave_out)
        self._acquire(agent, names, 20_000, True, (), priority=priority)

    @known
    @step(number=pick, name=locks, priority=st.sampled_from([5, 9]))
    def acquire_within(self, number: int, name: str, priority: int) -> None:
        """As one does who holds another lock meanwhile."""
        holding = [token for token, claim in self.claims.items() if self._holds(token, claim)]
        if holding:
            outer = self.claims[holding[number % len(holding)]]
            within = self._within(outer)
            if name not in self._wanted(outer, within):
                self._acquire(outer.agent, (name,), 20_000, True, within, priority=priority)
                self.claims[f"lk_{self.count:032x}"].chain = outer.chain

    def _within(self, outer: Known) -> tuple[Lien, ...]:
        """All that the holder of a claim holds meanwhile, its first lock first."""
        chain = [
            token for token, claim in self.claims.items() if claim.chain == outer.chain and self._holds(token, claim)
        ]
        return tuple(Lien(held, token) for token in chain for held in self.claims[token].names)

    def _wanted(self, outer: Known, within: tuple[Lien, ...]) -> set[str]:
        """The locks that the holder of a claim holds or waits for. Whoever wants one twice waits for itself."""
        chain = {token for token, claim in self.claims.items() if claim.chain == outer.chain}
        waited = {name for name, lock in self.locks.items() if chain & set(lock.queue)}
        return waited | {held.lock for held in within}

    @known
    @step(number=pick, other=pick)
    def acquire_crosswise(self, number: int, other: int) -> None:
        """Two who hold a lock each want the other's."""
        held = [
            (token, name)
            for name, lock in self.locks.items()
            for token in lock.holders
            if token in self.claims and len(self.claims[token].names) == 1
        ]
        if len(held) < 2:
            return
        (one, here), (two, there) = held[number % len(held)], held[other % len(held)]
        if here == there or self.claims[one].chain == self.claims[two].chain:
            return
        for token, wanted in ((one, there), (two, here)):
            claim = self.claims[token]
            within = self._within(claim)
            if self._holds(token, claim) and wanted not in self._wanted(claim, within):
                self._acquire(claim.agent, (wanted,), 20_000, True, within)
                self.claims[f"lk_{self.count:032x}"].chain = claim.chain

    def _acquire(
        self, agent: str, names: tuple[str, ...], ttl: int, queue: bool, within: tuple[Lien, ...], *, priority: int = 5,
        permits: int | None = None, weight: int = 1, shared: bool = False, preemption: str | None = None,
        grace: int | None = None,
    ) -> None:  # fmt: skip
        self.count += 1
        token = f"lk_{self.count:032x}"
        before = self.locks
        claim = LockClaim(
            agent, names, token, priority, ttl, permits, weight, "shared" if shared else "exclusive", preemption, grace,
            within,
        )  # fmt: skip
        self.claims[token] = Known(agent, names, priority, (self.now, self.count), bool(within))
        found = self._call(self.book.acquire(claim, SessionProof(), "~nobody", queue=queue), set(names), comes=token)
        if isinstance(found, AegisError):
            assert isinstance(found, ConflictError)
            assert found.code == "lock_differs"
            assert any(name in before for name in names) or weight > (permits or 1)
            assert not self._standing(token)
            return
        now_at = self._standing(token)
        if found.state in {"held", "waiting"}:
            assert all(weight <= self.locks[name].permits for name in names), "it can never be had"
        if found.state == "held":
            assert now_at == {"held"}
            self._learn(token)
            assert found.fences == tuple(self.claims[token].fences.values())
            holder = self.locks[names[0]].holders[token]
            assert found.expires == holder["EXPIRES"]
            if not holder["EVICTED"]:  # who waits with a higher priority may have it evicted in the same step
                assert found.expires == self.now + ttl
        elif found.state == "waiting":
            assert queue
            assert now_at == {"waiting"}
            assert found.place == max(self.locks[name].queue.index(token) for name in names)
        else:
            assert found.state in (
                {"gone", "wounded"} if within and queue else {"gone", "busy"} if within else {"busy"}
            )
            assert not now_at

    @known
    @step(number=pick, by=st.sampled_from([None, None, None, *AGENTS]))
    def ask_again(self, number: int, by: str | None) -> None:
        self._ask_again(*self._one(number), by)

    @known
    @step(number=pick)
    def ask_again_when_another_expires(self, number: int) -> None:
        """A holder asks at the moment when another one's lease of the same lock ends, and somebody waits."""
        found = [
            (first, token)
            for lock in self.locks.values()
            for token, holder in lock.holders.items()
            if lock.queue and token in self.claims
            if self.now < (first := min(one["EXPIRES"] for one in lock.holders.values())) < holder["EXPIRES"]
        ]
        if found:
            self.now, token = found[number % len(found)]
            self._set_clock()
            self._ask_again(token, self.claims[token], None)

    def _ask_again(self, token: str, claim: Known, by: str | None) -> None:
        if not self._standing(token):
            return
        before = self._standing(token)
        holder = self._holders(self.locks, claim.names[0]).get(token)
        rank = self._rank(token)
        agent = by or claim.agent
        again = LockClaim(agent, claim.names, token, 5, 20_000, None, 1, "exclusive", None, None, ())
        found = self._call(
            self.book.acquire(again, SessionProof(), "~nobody", queue=True), set(claim.names), token, token
        )
        if agent != claim.agent:
            if isinstance(found, AegisError):
                assert isinstance(found, AuthError)
            else:  # it had just ended, so the token was free
                self.count += 1
                self.claims[token] = Known(agent, claim.names, 5, (self.now, self.count), chained=False)
                self._learn(token)
            return
        if before == {"held"} and found.state == "held" and holder and holder["EXPIRES"] > self.now:
            kept = self.locks[claim.names[0]].holders[token]
            assert kept["FENCE"] == holder["FENCE"], "asking again is no new lease"
            claimed = holder["CLAIMED"] or holder["EVICTED"] > 0
            expires = holder["EXPIRES"] if claimed else self.now + holder["TTL"]
            if (
                kept["EVICTED"] > 0 and not holder["EVICTED"]
            ):  # in the same step, for one who waits with a higher priority
                expires = min(expires, kept["EVICTED"])
            assert kept["EXPIRES"] == expires
        elif before == {"waiting"} and found.state == "waiting" and self._rank(token) == rank:
            assert self.locks[claim.names[0]].waiters[token]["ALIVE"] == self.now + 15_000
        if found.state in {"held", "waiting"} and self._rank(token) != rank:
            self.count += 1  # a new claim under an old token
            self.claims[token] = Known(agent, claim.names, 5, (self.now, self.count), chained=False)
        self._learn(token)

    @known
    @step(number=pick, by=st.sampled_from([None, None, None, *AGENTS]), old=st.sampled_from([False, False, True]))
    def renew(self, number: int, by: str | None, old: bool) -> None:
        token, claim = self._one(number)
        name, agent = claim.names[0], by or claim.agent
        holders = {other: self.locks[other].holders.get(token) for other in claim.names if other in self.locks}
        alive = [one for one in holders.values() if one and one["EXPIRES"] > self.now]
        fence = claim.fences.get(name, 1) - (1 if old else 0)
        right = holders.get(name) is not None and fence == holders[name]["FENCE"]
        waits = "waiting" in self._standing(token)
        found = self._call(self.book.renew(SessionProof(), agent, name, token, fence or None, 20_000, None), {name})
        if isinstance(found, AegisError):
            assert isinstance(found, AuthError)
            assert agent != claim.agent
        elif waits:  # the call itself may have handed it over
            assert found.state == ("held" if self._holds(token, claim) and not fence else "gone")
        elif len(alive) < len(claim.names) or (not right and fence):
            assert found.state == "gone", "the expired, the evicted and the mistaken keep nothing"
        elif alive:
            assert agent == claim.agent, "a stranger kept a lease"
            evicted = any(one["EVICTED"] > 0 for one in alive)
            assert found.state == "held"
            for other, one in holders.items():
                kept = self.locks[other].holders[token]
                assert kept["EXPIRES"] == (one["EXPIRES"] if evicted else self.now + 20_000), "an evicted one stays so"

    @known
    @step(number=pick, by=st.sampled_from([None] * 5 + AGENTS), fence=st.sampled_from(["none", "none", "right", "old"]))
    def release(self, number: int, by: str | None, fence: str) -> None:
        token, claim = self._one(number)
        name, agent = claim.names[0], by or claim.agent
        held = claim.fences.get(name)
        given = None if fence == "none" or held is None else held if fence == "right" else held - 1 or None
        before = self.locks.get(name, walk.Lock())
        stood = self._standing(token)
        holder = before.holders.get(token)
        alive = holder is not None and holder["EXPIRES"] > self.now
        ended = self._call(self.book.release(SessionProof(), agent, name, token, given), {name})
        if isinstance(ended, AegisError):
            assert isinstance(ended, AuthError)
            assert agent != claim.agent
            return
        assert not alive or agent == claim.agent, "given back by somebody else"
        if alive and agent == claim.agent and (given is None or given == holder["FENCE"]):
            assert ended.word == "released"
            assert not self._standing(token), "what was given back is held still"
            assert ended.after == self.now - holder["SINCE"]
        elif alive and given is not None and given != holder["FENCE"]:
            assert ended.word == "gone"
            assert token in self.locks[name].holders, "a wrong fence takes nothing away"
        elif "waiting" in stood and agent == claim.agent and given is None:
            assert not self._standing(token), "who left may neither hold nor wait"

    @step(name=locks, number=pick, all_of_them=st.booleans())
    def force(self, name: str, number: int, all_of_them: bool) -> None:
        holders = list(self.locks.get(name, walk.Lock()).holders.values())
        fence = None if all_of_them or not holders else holders[number % len(holders)]["FENCE"]
        taken = self._call(self.book.force(name, fence, "op"), {name})
        if isinstance(taken, AegisError):
            assert isinstance(taken, NotFoundError)
        else:
            left = {one["FENCE"] for one in self.locks.get(name, walk.Lock()).holders.values()}
            assert not left & {one[1] for one in taken}

    @step(name=st.sampled_from([None, *LOCKS]))
    def look(self, name: str | None) -> None:
        now, more, rows = self._call(self.book.page(name, 0), set(LOCKS) if name is None else {name})
        assert (now, more) == (self.now, None)
        for row in rows:
            lock = self.locks[row[0]]
            assert [holder[1] for holder in row[3]] == [holder["FENCE"] for holder in lock.holders.values()]
            assert [waiter[0] for waiter in row[4]] == [lock.waiters[token]["AGENT"] for token in lock.queue]
        if name is None:
            assert {row[0] for row in rows} == set(self.locks)

    # --- what must hold

    def _call(self, doing: Any, opened: set[str], asks: str | None = None, comes: str | None = None) -> Any:
        """Make a call, and look at everything after it. `asks` asks again; `comes` may be new, or be so again."""
        type(self).steps += 1
        try:
            result: Any = self.bench.run(doing)
        except StoreError:
            raise  # a script that fails is not an answer
        except AegisError as error:
            result = error
        before = self.locks
        self.locks, owned, index = walk.read(self.bench.plain, self.tenant)
        walk.check_books(self.locks, owned, index)
        walk.check_permits(self.locks)
        walk.check_no_permit_is_lost(self.locks, opened, self.now)
        walk.check_no_cycle(self.locks)
        self._check_grants(before, asks)
        self._check_evictions(before, comes)
        self._check_events(before)
        return result

    def _check_grants(self, before: dict[str, walk.Lock], asks: str | None) -> None:
        fresh = sorted(
            (holder["FENCE"], name, token)
            for name, lock in self.locks.items()
            for token, holder in lock.holders.items()
            if token not in self._holders(before, name)
            or self._holders(before, name)[token]["FENCE"] != holder["FENCE"]
        )
        for fence, name, token in fresh:
            holder = self.locks[name].holders[token]
            assert fence > self.highest, "a fence that does not grow"
            self.highest = fence
            waited = before[name].waiters.get(token) if name in before else None
            if waited is not None:
                assert waited["ALIVE"] > self.now or token == asks, "a grant to the dead"
            if not holder["CLAIMED"]:
                assert holder["EXPIRES"] <= self.now + walk.CLAIM, "nobody need claim it"
            claim = self.claims[token]
            claim.fences[name] = fence
            if token == asks or claim.chained:
                continue
            for other in before[name].queue if name in before else ():
                if other not in self.locks[name].queue:
                    continue
                rival = self.claims[other]
                if self.locks[name].waiters[other]["ALIVE"] > self.now and not rival.chained and other != asks:
                    assert not rival.before(claim), (
                        f"{other} {vars(rival)} was overtaken by {token} {vars(claim)} {holder} {waited}"
                    )
                    if claim.asked[0] - rival.asked[0] > walk.LEVELS * walk.STEP:
                        raise AssertionError("overtaken by one who came more than nine steps later")

    def _check_evictions(self, before: dict[str, walk.Lock], comes: str | None) -> None:
        """Notice is given for somebody of strictly higher priority, and as the lock's kind says.

        There is one exception: to end a cycle of waits, a holder of any kind of lock is stopped, but only when it waits
        itself for another lock, it or one of its chain (which is what waits in a cycle), when one of an earlier rank
        comes who waits for this lock while it keeps something from others (a lock that it holds, or its places in
        several queues), and when that wait ends too. Of a claim of several locks one is stopped so: that ends its wait,
        and the others keep nobody waiting for ever. It may have got the lock in this very step.
        """
        for name, lock in self.locks.items():
            for token, holder in lock.holders.items():
                old = self._holders(before, name).get(token)
                if old and old["FENCE"] != holder["FENCE"]:
                    old = None  # a new lease under an old token
                if holder["EVICTED"] == (old["EVICTED"] if old else 0):
                    continue
                soon = 0 < holder["EVICTED"] == holder["EXPIRES"] <= self.now + walk.WOUND
                if soon and self._waits_no_longer(before, holder["CHAIN"]) and self._closes(name, comes, holder):
                    continue
                waiting = [lock.waiters[other] for other in lock.queue]
                waiting += before[name].waiters.values() if name in before else ()
                assert any(rival["PRIORITY"] > holder["PRIORITY"] for rival in waiting), (
                    "evicted for nobody of higher priority"
                )
                assert lock.preemption != "never"
                assert (holder["EVICTED"] > 0) == (lock.preemption == "after_grace")

    def _waits_no_longer(self, before: dict[str, walk.Lock], chain: str) -> bool:
        """True when somebody of a chain waited for another lock before this step, and holds its own without it now."""
        waited = [
            (name, token)
            for name, lock in before.items()
            for token, holder in lock.holders.items()
            if holder["CHAIN"] == chain and holder["WAITS"]
        ]
        now = (self._holders(self.locks, name).get(token) for name, token in waited)
        return any(holder is not None and not holder["WAITS"] for holder in now)

    def _closes(self, name: str, comes: str | None, holder: dict[str, Any]) -> bool:
        """True when who comes wants the lock, keeps something from others, and ranks before its holder."""
        lock = self.locks[name]
        one = lock.waiters.get(comes or "") or lock.holders.get(comes or "")
        if comes is None or one is None:
            return False
        keeps = self.claims[comes].chained or len(one["NAMES"]) > 1
        return keeps and (one["RANK"], one["CHAIN"]) < (holder["RANK"], holder["CHAIN"])

    def _check_events(self, before: dict[str, walk.Lock]) -> None:
        counts, self.after = walk.tallied(self.bench.plain, self.tenant, self.after)

        def number(*kinds: str) -> int:
            return sum(counts.get(f"lock_{kind}", 0) for kind in kinds)

        held_before = sum(len(lock.holders) for lock in before.values())
        held_now = sum(len(lock.holders) for lock in self.locks.values())
        assert held_now - held_before == number("acquired") - number(*ENDINGS)
        evicted_before = {(n, t) for n, lock in before.items() for t, h in lock.holders.items() if h["EVICTED"]}
        evicted_now = {(n, t) for n, lock in self.locks.items() for t, h in lock.holders.items() if h["EVICTED"]}
        assert number("preempting") >= len(evicted_now - evicted_before)

    # --- small things

    @staticmethod
    def _holders(locks_: dict[str, walk.Lock], name: str) -> dict[str, dict[str, Any]]:
        return locks_[name].holders if name in locks_ else {}

    def _one(self, number: int) -> tuple[str, Known]:
        """Mostly one of the latest, which may still live."""
        tokens = list(self.claims)[-12:]
        token = tokens[number % len(tokens)]
        return token, self.claims[token]

    def _holds(self, token: str, claim: Known) -> bool:
        return all(name in self.locks and token in self.locks[name].holders for name in claim.names)

    def _standing(self, token: str) -> set[str]:
        """How a claim stands in each of its locks."""
        found: set[str] = set()
        for lock in self.locks.values():
            if token in lock.holders:
                found.add("held")
            if token in lock.queue:
                found.add("waiting")
        return found

    def _rank(self, token: str) -> int | None:
        """Its place among all; another one than before means another claim under the same token."""
        for lock in self.locks.values():
            for one in (lock.waiters.get(token), lock.holders.get(token)):
                if one is not None:
                    return one["RANK"]
        return None

    def _learn(self, token: str) -> None:
        for name, lock in sorted(self.locks.items()):
            if token in lock.holders:
                self.claims[token].fences[name] = lock.holders[token]["FENCE"]


def lock_machine_on(bench_: Bench) -> type[LockMachine]:
    """The machine on a server."""
    return type("Machine", (LockMachine,), {"bench": bench_, "examples": 0, "steps": 0})
