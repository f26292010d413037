"""Shadow experiments of a tenant on Redis: begun and ended, their pairs, and what the close of days decides."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from hashlib import blake2b
from typing import Literal
from zoneinfo import ZoneInfo

from aegis_core.governor.experiment_states import (
    OPEN,
    by_kind,
    day_of,
    is_over,
    proof_of,
    standings_of,
    terms_of,
    told_of,
)
from aegis_core.governor.usage import decode_usage
from aegis_core.kaizen.experiments.course import course
from aegis_core.kaizen.experiments.deciding import (
    CERTIFICATE_MS,
    changed_price,
    decided,
    margin_of,
    needed,
)
from aegis_core.kaizen.experiments.shadow import Trial
from aegis_core.kaizen.facts import Certified
from aegis_core.kaizen.prices import rates_of
from aegis_core.metering.price_book import PriceBook
from aegis_core.protocol.errors import AuthError, ConflictError, InvalidRequestError, NotFoundError
from aegis_core.protocol.experiments import (
    AGREEING,
    TRUE_JUDGES,
    Experiment,
    ExperimentChange,
    ExperimentExplanation,
    Experiments,
    ExperimentStart,
    PairNoted,
    PairPost,
)
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.store import layout
from aegis_core.store.arguments import BegunExperiment
from aegis_core.store.experiment_verbs import NotePair, PutExperiment
from aegis_core.store.experiments import ExperimentStore, StoredExperiment
from aegis_core.store.kaizen import KaizenStore
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack
from aegis_core.store.schema import Agent

_DAY_MS = 86_400_000
_SHARE, _NANO = Decimal("0.02"), Decimal("1e-9")
_VERSION = 128
"""Characters of a model's version that are kept."""
POSTED_MS = 7 * _DAY_MS
"""How long a pair that a program posts may stay open between its sampling and its scores."""


class TenantExperiments:
    """The experiments of one tenant."""

    def __init__(self, ledger: Ledger, prices: Callable[[], PriceBook]) -> None:
        self._ledger, self._prices, self._store = ledger, prices, ExperimentStore(ledger)
        self.cap = Decimal(1)
        """What its owner lets experiments cost in a day, in dollars."""

    async def start(self, wish: ExperimentStart, *, author: str) -> Experiment:
        """Begin one. The same wish while it is open answers the one that there is.

        Raises:
            InvalidRequestError: a model without a price, or one that would be held against itself.
            ConflictError: there are too many.
        """
        book = self._prices()
        rates = {field: rates_of(book, getattr(wish, field)) for field in ("present", "candidate")}
        for field, found in rates.items():
            if found is None:
                raise _invalid(field, f"has no price: {getattr(wish, field)!r}; nobody could say what it saves")
        if book.canonical(wish.present) == book.canonical(wish.candidate):
            raise _invalid("candidate", "is the present model")
        identity = (wish.task_type, wish.present, wish.candidate, wish.judge, wish.judge_version)
        stem = "x-" + blake2b("\0".join(identity).encode(), digest_size=4).hexdigest()
        before = [each for each in await self._store.all() if each.name.partition("-")[2].startswith(stem[2:])]
        if (live := next((each for each in before if each.state in OPEN), None)) is not None:
            return await self.one(live.name)
        name = f"{stem}-{len(before) + 1}" if before else stem
        about = {"start": wish.model_dump(mode="json"), **{field: by_kind(each) for field, each in rates.items()}}
        begun = BegunExperiment(
            json.dumps(about), wish.task_type, wish.present, wish.candidate,
            margin_of(pairwise=wish.judge == "llm", attenuation=wish.attenuation), wish.judge not in AGREEING,
            wish.most_pairs, wish.days * _DAY_MS,
        )  # fmt: skip
        why = "certified without labels, if at all" if wish.without_labels else ""
        await self._store.put(PutExperiment(name, "running", (), begun, False, None, why, author))
        return await self.one(name)

    async def change(self, name: str, wish: ExperimentChange, *, author: str) -> Experiment:
        """Pause, resume, stop or confirm one.

        Raises:
            NotFoundError: there is none. ConflictError: it is in no state for that.
        """
        state, allowed = _ACTS[wish.act]
        why = wish.reason or ("confirmed without labels" if wish.act == "confirm" else "")
        stored = await self._stored(name)
        proof = proof_of(stored) if state == "certified" else None
        ended = state in {"stopped", "certified"}
        now, done = await self._store.put(PutExperiment(name, state, allowed, False, ended, proof, why, author))
        if not done and now != state:
            raise ConflictError(f"The experiment {name} is {now}; it cannot {wish.act}.", code="experiment_state")
        return await self.one(name)

    async def all(self) -> Experiments:
        """Those that are kept, the newest first."""
        stored = await self._store.all()
        least = needed(standings_of(stored, await self._today()))
        return Experiments(tuple(told_of(each, least) for each in reversed(stored)))

    async def reported(self, since: int) -> tuple[Experiment, ...]:
        """Those that are open or certified, and those that ended since a time in ms."""
        kept = {
            each.name for each in await self._store.all() if each.state in {*OPEN, "certified"} or each.ended >= since
        }
        return tuple(each for each in (await self.all()).experiments if each.experiment_id in kept)

    async def one(self, name: str) -> Experiment:
        """One of them. Raises NotFoundError: there is none."""
        await self._stored(name)
        return next(each for each in (await self.all()).experiments if each.experiment_id == name)

    async def explain(self, name: str) -> ExperimentExplanation:
        """One, and how its evidence grew. Raises NotFoundError: there is none."""
        found, pairs = await self.one(name), await self._store.pairs(name)
        scores = [(pair.present, pair.candidate) for _, pair in pairs[: found.pairs + found.missing + found.skipped]
                  if pair.state == "score"]  # fmt: skip
        return ExperimentExplanation(found, course(scores, found.margin))

    async def open_pair(
        self, name: str, request_id: str, *, milliseconds: int, basis: str = "", agent: str | None = None,
        version: str = "",
    ) -> int:  # fmt: skip
        """Number a sampled request; 0: this experiment takes none now. The same request has the same number."""
        order = NotePair(name, self._hashed(request_id), "open", 0, 0, milliseconds, basis, agent, version[:_VERSION])
        state, number, known = await self._store.note(order)
        return 0 if known or state not in OPEN else number

    async def score(
        self, name: str, request_id: str, scores: tuple[float, float] | None, *, asked: bool = True, version: str = ""
    ) -> bool:
        """Score a sampled request, once. None: its judge does not know; not `asked`: the candidate was not called."""
        act = "score" if scores else "missing" if asked else "skip"
        both = _checked(scores) if scores else (0.0, 0.0)
        order = NotePair(name, self._hashed(request_id), act, *both, 0, version=version[:_VERSION])
        return not (await self._store.note(order))[2]

    async def see(self, name: str, model: Literal["present", "candidate"], *, basis: str, version: str) -> bool:
        """Say with what a model of a certificate was seen: whether that is still what it was shown with; if not, it
        lapses."""
        order = NotePair(name, "", model, 0, 0, 0, basis, version=version[:_VERSION])
        return (await self._store.note(order))[0] == "certified"

    async def post(self, pair: PairPost, *, agent: str | None = None) -> PairNoted:
        """A pair from outside. It is numbered as it comes, where it was not sampled before.

        Args:
            pair: with its scores.
            agent: who posts it, where that is not an operator.

        Raises:
            AuthError: an agent whose profile does not say that its settlements are trusted.
            NotFoundError: no such experiment.
        """
        if agent is not None and not await self._trusts(agent):
            raise AuthError("Only agents whose profile has settlement: trusted post pairs.", code="operator_only")
        hashed, scores = self._hashed(pair.request_id), _checked((pair.present, pair.candidate))
        stored = await self._stored(pair.experiment_id)
        state, number, _ = await self._store.note(NotePair(stored.name, hashed, "open", 0, 0, POSTED_MS))
        if not number:
            return PairNoted(stored.name, 0, False, state)  # pyright: ignore[reportArgumentType] - states are those
        counted = False
        true = terms_of(stored).start.judge in TRUE_JUDGES
        for act in ("score",) if true or not pair.labelled else ("label",):
            state, number, known = await self._store.note(NotePair(stored.name, hashed, act, *scores, 0))
            counted = not known
        return PairNoted(stored.name, number, counted, state)  # pyright: ignore[reportArgumentType]

    async def decide(self) -> int:
        """What the days that are over decide; answers how many experiments came into another state."""
        now, zone = await self._now()
        today = day_of(now, zone)
        for each in await self._store.all():
            if each.state in OPEN:
                await self._store.count(each.name)
        stored = await self._store.all()
        standings = {each.name: each for each in standings_of(stored, today)}
        verdicts = decided(list(standings.values()))
        changed = 0
        for each in stored:
            state, why = verdicts.get(each.name), ""
            if each.state == "certified" and (lapse := self._lapse(each, now)):
                state, why = "lapsed", lapse
            elif state is None and each.state in OPEN and is_over(each, now):
                state, why = "undecided", "its pairs or its time are used up without evidence either way"
            if state is None or state == each.state:
                continue
            ended, proof = state != "suggested", repr(standings[each.name].log_e) if state == "certified" else None
            allowed = ("certified",) if state == "lapsed" else OPEN
            order = PutExperiment(each.name, state, allowed, False, ended, proof, why, "kaizen")
            changed += (await self._store.put(order))[1]
        return changed

    async def certified(self) -> dict[tuple[str, str], Certified]:
        """By type of task and present model the cheaper one that counts as certified now."""
        found: dict[tuple[str, str], Certified] = {}
        now, _ = await self._now()
        for each in await self._store.all():
            if each.state == "certified" and not self._lapse(each, now):
                start = terms_of(each).start
                rates = rates_of(self._prices(), start.candidate)
                if rates is not None:
                    found[start.task_type, start.present] = Certified(start.candidate, rates)
        return found

    async def running(self) -> Sequence[Trial]:
        """Those that sample now, and certificates, with their terms."""
        return [
            Trial(each.name, terms_of(each).start, each.state == "certified")
            for each in await self._store.all()
            if each.state in {"running", "suggested", "certified"}
        ]

    async def affordable(self) -> Decimal:
        """What experiments may cost in this day, in dollars: the owner's cap, and at most 2 % of what the tenant spent
        in the last 24 hours (of yesterday as much as is left of today)."""
        now, zone = await self._now()
        today, at = day_of(now, zone), datetime.fromtimestamp(now / 1000, ZoneInfo(zone))
        left = 1 - (at.hour * 3_600 + at.minute * 60 + at.second) / 86_400
        spent = [
            sum(
                row.cost_usd
                for row in decode_usage(at.date(), await self._ledger.usage(day))
                if row.agent_id != OWN_AGENT
            )
            for day in (today, today - 1)
        ]
        return min(self.cap, (spent[0] + spent[1] * Decimal(left)) * _SHARE).quantize(_NANO, ROUND_DOWN)

    def _lapse(self, stored: StoredExperiment, now: int) -> str:
        if now >= stored.ended + CERTIFICATE_MS:
            return "it is older than 30 days"
        terms, book = terms_of(stored), self._prices()
        for name, before in ((terms.start.present, terms.present), (terms.start.candidate, terms.candidate)):
            rates = rates_of(book, name)
            if rates is None or changed_price(before, by_kind(rates)):
                return f"a price of {name} changed by more than 10 %"
        return ""

    async def _trusts(self, agent: str) -> bool:
        blob = await self._ledger.store.command("GET", layout.key(self._ledger.tenant, f"a:{agent}"))
        return blob is not None and decode(Agent, unpack(blob)).trust == "trusted"

    async def _stored(self, name: str) -> StoredExperiment:
        if (found := await self._store.one(name)) is None:
            raise NotFoundError(f"There is no experiment {name}.", kind="experiment", name=name)
        return found

    def _hashed(self, request_id: str) -> str:
        key = self._ledger.store.pepper[:64]
        return blake2b(request_id.encode(), digest_size=12, key=key, person=b"aegis pair").hexdigest()

    async def _now(self) -> tuple[int, str]:
        held = await KaizenStore(self._ledger).hold(0)  # it takes nothing
        return held.now, held.zone

    async def _today(self) -> int:
        return day_of(*await self._now())


_ACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pause": ("paused", ("running",)), "resume": ("running", ("paused",)), "stop": ("stopped", OPEN),
    "confirm": ("certified", ("suggested",)),
}  # fmt: skip


def _invalid(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)


def _checked(scores: tuple[float, float]) -> tuple[float, float]:
    """Scores as the script may count them; a judge is the program's, so it is not taken at its word."""
    present, candidate = scores
    for field, score in (("present", present), ("candidate", candidate)):
        if not 0 <= score <= 1:  # also not a NaN
            raise _invalid(field, f"must be a score from 0 to 1, not {score!r}")
    return float(present), float(candidate)
