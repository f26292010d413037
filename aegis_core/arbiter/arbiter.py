"""The arbiter: which models a request may use, in the order of preference, and what each reserves at most.

A logic density asks for a tier, which outcomes may lower or raise; the cheapest model of that tier comes first, dearer
ones and higher tiers follow as fallbacks, lower tiers only where the policy lists them. Same request and same evidence,
same answer: there is no state but caches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from aegis_core.arbiter.catalog import GREATEST_DENSITY, LEAST_DENSITY, Catalog, Model
from aegis_core.arbiter.estimator import FORECAST_INPUT, FORECAST_OUTPUT, forecast, input_bound
from aegis_core.arbiter.evidence import NO_EVIDENCE, Choice, Evidence, lowered_by_text
from aegis_core.arbiter.prices import Prices
from aegis_core.arbiter.rates import Rates
from aegis_core.arbiter.shortlist import Needs, Shortlist, select
from aegis_core.arbiter.why import Considered, Why, packed
from aegis_core.errors import InvalidRequestError
from aegis_core.money import format_usd
from aegis_core.protocol import PermissionRequest

if TYPE_CHECKING:
    from aegis_core.arbiter.routing.gain import GainModel

MAX_CANDIDATES = 6
"""Candidates of one appraisal; the store tries them in turn."""

_CACHED_SHORTLISTS = 1_024

PricedBy = Literal["claim", "sizes", "both"]


class Candidate(NamedTuple):
    """One way to serve a request: a model (None: the resource is not a model), and nano-dollars to reserve for it."""

    model: str | None
    nanos: int


class Appraisal(NamedTuple):
    """What a request may use and what that costs at most.

    Attributes:
        candidates: best first, at most `MAX_CANDIDATES`; none: no model meets the requirements, and `note` says why.
        recommended: the model that the agent should use, whichever it named.
        priced_by: what the amounts come from: the claim, the sizes, or the higher of both.
        note: a sentence for the verdict's reason.
        code: why there is no candidate, as the verdict's code.
        why: what the record and the verdict say of the choice, as text; None: of another resource.
        checked: a cheaper model to call before the first candidate, whose amount covers both; None: there is none.
    """

    candidates: tuple[Candidate, ...]
    recommended: str | None
    priced_by: PricedBy
    note: str
    code: str = "no_model"
    why: str | None = None
    checked: str | None = None


@dataclass(slots=True)
class _Terms:
    """What one request says about its cost: nano-dollars, tokens, bytes. None: it says nothing."""

    claim: int | None
    prompt_bytes: int | None
    cap: int | None
    ceiling: int | None
    sized: bool
    input_tokens: int

    @property
    def priced_by(self) -> PricedBy:
        return "sizes" if self.claim is None else "both" if self.sized else "claim"

    def amount(self, rates: Rates, cap: int) -> int:
        """Nano-dollars to reserve: the claim or the bound with `cap` output tokens, whichever is higher."""
        claim = self.claim or 0
        return max(claim, rates.bound(self.input_tokens, cap)) if self.sized else claim

    def cap_of(self, model: Model) -> int:
        """Tokens that the answer of a model of the catalog may have."""
        return model.max_output_tokens if self.cap is None else self.cap

    def fits(self, model: Model) -> bool:
        """Prompt and answer together stay within the context, as far as the request gave sizes."""
        return not self.sized or self.input_tokens + self.cap_of(model) <= model.context_tokens


class Arbiter:
    """Appraises requests against a catalog and its prices."""

    def __init__(self, catalog: Catalog, prices: Prices, text_model: GainModel | None = None) -> None:
        """Nothing is loaded before the first request or `warm`.

        Args:
            catalog: the models.
            prices: must know the names of `catalog`.
            text_model: a fitted estimator whose pair of models is in the catalog; others are ignored.
        """
        self._catalog = catalog
        self._prices = prices
        self._shortlist = lru_cache(maxsize=_CACHED_SHORTLISTS)(partial(select, catalog, prices))
        self._explained = lru_cache(maxsize=_CACHED_SHORTLISTS)(self._explain)
        self._text_model = text_model
        weak, strong = (catalog.find(text_model.weak), catalog.find(text_model.strong)) if text_model else (None, None)
        self._text_tiers = (weak.tier, strong.tier) if weak and strong else (0, 0)

    @property
    def catalog(self) -> Catalog:
        """The models among which it chooses."""
        return self._catalog

    def tier_of(self, name: str) -> int | None:
        """The tier of a model of the catalog."""
        model = self._catalog.find(name)
        return model.tier if model else None

    def warm(self) -> None:
        """Load the prices and order the models now rather than in the first request."""
        self._prices.warm()
        for density in range(LEAST_DENSITY, GREATEST_DENSITY + 1):
            self._shortlist(density, None, 0)

    def appraise(
        self, request: PermissionRequest, permitted: tuple[str, ...] = (), evidence: Evidence = NO_EVIDENCE
    ) -> Appraisal:
        """Say which models a request may use, in order, and what each costs at most.

        Args:
            request: what the agent wants.
            permitted: the only models that the policy allows for it, best first; none: it leaves the choice open.
            evidence: what the tenant's outcomes say.

        Raises:
            InvalidRequestError: the request has neither a claim nor sizes to price it by.
            UnknownModelError: it names a model without a known price, or requires one outside the catalog.
        """
        usd = request.estimated_cost_usd
        claim = None if usd is None else int(usd.scaleb(9))  # exact: the protocol admits whole nano-dollars only
        if request.resource_type != "llm_tokens":
            if claim is None:
                problem = f"is required for {request.resource_type}; give the cost in dollars"
                raise _missing("estimated_cost_usd", problem)
            return Appraisal((Candidate(None, claim),), None, "claim", "")
        required = request.requirements
        needs, ceiling = Needs(permitted=permitted) if permitted else None, None
        if required is not None:
            needs = Needs(
                required.tools,
                required.vision,
                required.min_context_tokens,
                required.providers,
                required.models,
                permitted,
            )
            ceiling = None if required.ceiling_usd is None else int(required.ceiling_usd.scaleb(9))
        density = request.logic_density
        choice = self._choice(request, evidence)
        asked = self._catalog.tier_for(density)
        shortlist = self._shortlist(density, needs, 0 if choice.tier == asked else choice.tier)
        if choice.tier < asked and not shortlist.names:
            shortlist = self._shortlist(density, needs, 0)
        name, prompt, cap = request.model, request.prompt_bytes, request.max_output_tokens
        said = (request.task_type or "", density, choice, evidence.version)
        if claim is not None and prompt is cap is name is ceiling is request.verify is None and shortlist.names:
            candidates = tuple([Candidate(model, claim) for model in shortlist.names[:MAX_CANDIDATES]])
            why = self._explained(shortlist, *said)  # the common case, fast
            return Appraisal(candidates, shortlist.names[0], "claim", shortlist.note, why=why)
        if claim is None and prompt is None:
            raise _unpriced(cap)
        sized = prompt is not None or cap is not None
        terms = _Terms(claim, prompt, cap, ceiling, sized, input_bound(prompt or 0))
        if name is not None:
            if permitted and not self._among(name, permitted):
                note = f"{name} may not be used here; the policy permits only {', '.join(permitted)}."
                best = shortlist.names[0] if shortlist.names else None
                return Appraisal((), best, terms.priced_by, note, "model_not_allowed")
            appraisal = self._named(name, shortlist, terms)
        else:
            candidates = _choose(shortlist, terms, MAX_CANDIDATES)
            if not candidates:
                return Appraisal((), None, terms.priced_by, _why_none(shortlist, terms))
            appraisal = Appraisal(tuple(candidates), candidates[0].model, terms.priced_by, shortlist.note)
        if not shortlist.names or not appraisal.recommended:
            return appraisal
        if request.verify and not name:
            appraisal = self._verified(appraisal, needs, terms, choice)
        escalation = appraisal.candidates[0].model if appraisal.checked else None
        others = (candidate.model for candidate in appraisal.candidates)
        names = tuple(dict.fromkeys(each for each in (appraisal.recommended, *others) if each in self._catalog.by_name))
        tokens = forecast(prompt, cap)
        why = self._explain(shortlist, *said, tokens, names, escalation)
        return appraisal._replace(why=why)

    def _choice(self, request: PermissionRequest, evidence: Evidence) -> Choice:
        """The tier for a request: by outcomes of its type, by a fitted text model, by outcomes of its agent."""
        density = request.logic_density
        asked = self._catalog.tier_for(density)
        choice = evidence.choose(asked, density, request.task_type, request.agent_id)
        weak, strong = self._text_tiers
        if self._text_model and weak < asked <= strong and choice.basis in ("prior", "agent"):
            gain = self._text_model.gain(request.task_intent, request.task_type or "")
            if not self._text_model.calls_for_strong(gain):
                return lowered_by_text(weak, choice)
        return choice

    def _verified(self, appraisal: Appraisal, needs: Needs | None, terms: _Terms, choice: Choice) -> Appraisal:
        """Put before the first candidate a cheaper model, whose answer the caller verifies; both costs are reserved.

        Not where the cheaper one fails so often that both together are expected to cost more than the better one alone.
        """
        if not appraisal.candidates or (needs and needs.permitted):
            return appraisal
        best = appraisal.candidates[0]
        tokens = forecast(terms.prompt_bytes, terms.cap)
        dear = self._prices.rates(best.model or "").expected(*tokens)
        tier = self._catalog.by_name[best.model or ""].tier
        below = self._shortlist(LEAST_DENSITY, needs, 1)
        lower = [entry for each in below.tiers for entry in each if entry.model.tier < tier and terms.fits(entry.model)]
        expected = [
            (_both(entry.rates.expected(*tokens), dear, choice.estimates[entry.model.tier - 1].mean), entry)
            for entry in lower
        ]
        cost, cheap = min(expected, key=lambda pair: pair[0], default=(dear, None))
        if cheap is None or cost >= dear:
            return appraisal
        both = best.nanos + terms.amount(cheap.rates, terms.cap_of(cheap.model))
        if terms.ceiling is not None and both > terms.ceiling:
            return appraisal
        candidates = (Candidate(best.model, both), *appraisal.candidates[: MAX_CANDIDATES - 1])
        checked = cheap.model.name
        return appraisal._replace(candidates=candidates, recommended=checked, checked=checked)

    def _explain(
        self,
        shortlist: Shortlist,
        task_type: str,
        density: int,
        choice: Choice,
        version: int,
        tokens: tuple[int, int] = (FORECAST_INPUT, FORECAST_OUTPUT),
        names: tuple[str, ...] = (),
        escalation: str | None = None,
    ) -> str:
        """Why these models (default: the first of the shortlist), for the record."""
        entries = [entry for tier in shortlist.tiers for entry in tier]

        def expected(name: str) -> int:
            return self._prices.rates(name).expected(*tokens)

        considered: list[Considered] = []
        for name in names or shortlist.names[:MAX_CANDIDATES]:
            tier, nanos = self._catalog.by_name[name].tier, expected(name)
            if escalation and not considered:
                nanos = _both(nanos, expected(escalation), choice.estimates[tier - 1].mean)
            considered.append(Considered(name, tier, nanos))
        top = max(entry.model.tier for entry in entries)
        nanos, strongest = min((expected(e.model.name), e.model.name) for e in entries if e.model.tier == top)
        best = Considered(strongest, top, nanos)
        return packed(
            Why(task_type, density, choice, tuple(considered), best, self._prices.version, version, escalation)
        )

    def _among(self, name: str, permitted: tuple[str, ...]) -> bool:
        canonical = self._prices.canonical
        return canonical(name) in {canonical(each) for each in permitted}

    def _named(self, name: str, shortlist: Shortlist, terms: _Terms) -> Appraisal:
        """Price the model that the agent will call, and recommend what the arbiter would have chosen."""
        rates = self._prices.rates(name)
        model = self._catalog.find(name)
        if model is None and terms.claim is None and terms.cap is None:
            problem = f"is required, because {name} is not in the catalog, which would give its output cap"
            raise _missing("max_output_tokens", problem)
        nanos = terms.amount(rates, terms.cap_of(model) if model else terms.cap or 0)
        best = _choose(shortlist, terms, 1)
        recommended = best[0].model if best else None
        if terms.ceiling is not None and nanos > terms.ceiling:
            ceiling = format_usd(terms.ceiling)
            note = f"{name} costs up to {format_usd(nanos)}, more than requirements.ceiling_usd, {ceiling}."
            return Appraisal((), recommended, terms.priced_by, note)
        note = shortlist.note if best else _why_none(shortlist, terms)
        return Appraisal((Candidate(self._prices.canonical(name), nanos),), recommended, terms.priced_by, note)


def _choose(shortlist: Shortlist, terms: _Terms, most: int) -> list[Candidate]:
    """The best candidates, tier by tier, each tier ordered by what this request is expected to cost in it."""
    candidates: list[Candidate] = []
    ceiling = terms.ceiling
    tokens = forecast(terms.prompt_bytes, terms.cap)
    for tier in shortlist.tiers:
        # A sort keeps the order of equals, which is that of the shortlist; a claim costs the same everywhere.
        entries = sorted(tier, key=lambda entry: entry.rates.expected(*tokens)) if terms.sized else tier
        for model, rates, _ in entries:
            if not terms.fits(model):
                continue
            nanos = terms.amount(rates, terms.cap_of(model))
            if ceiling is None or nanos <= ceiling:
                candidates.append(Candidate(model.name, nanos))
                if len(candidates) == most:
                    return candidates
    return candidates


def _both(cheap: int, dear: int, quality: float) -> int:
    """Nano-dollars to expect of a cheap call, and of a dear one as often as the cheap one's answer is refused."""
    return cheap + math.ceil((1 - quality) * dear)


def _why_none(shortlist: Shortlist, terms: _Terms) -> str:
    """Which requirement left no candidate, and what the nearest possibility is."""
    entries = [entry for tier in shortlist.tiers for entry in tier]
    if not entries:
        return shortlist.note
    fitting = [entry for entry in entries if terms.fits(entry.model)]
    if not fitting:
        widest = max(entries, key=lambda entry: entry.model.context_tokens - terms.cap_of(entry.model)).model
        tokens = terms.input_tokens + terms.cap_of(widest)
        return (
            f"prompt_bytes and max_output_tokens come to as many as {tokens:,} tokens, and the longest context that is "
            f"left is {widest.context_tokens:,} ({widest.name}); send less, or lower max_output_tokens."
        )
    nanos, name = min((terms.amount(entry.rates, terms.cap_of(entry.model)), entry.model.name) for entry in fitting)
    return (
        f"requirements.ceiling_usd, {format_usd(terms.ceiling or 0)}, is below the cheapest possibility: "
        f"{name} at up to {format_usd(nanos)}."
    )


def _unpriced(cap: int | None) -> InvalidRequestError:
    if cap is not None:
        return _missing("prompt_bytes", "is required beside max_output_tokens unless estimated_cost_usd is given")
    return _missing(
        "estimated_cost_usd",
        "is missing; give the cost in dollars, or prompt_bytes (and max_output_tokens) to have it estimated",
    )


def _missing(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)
