"""The arbiter: which models a request may use, in the order of preference, and what each reserves at most.

A logic density asks for a tier; the cheapest model of the lowest tier that satisfies it comes first, dearer ones and
higher tiers follow as fallbacks, lower tiers never. Same request, same answer: there is no state but caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from aegis_core.arbiter.catalog import GREATEST_DENSITY, LEAST_DENSITY, Catalog, Model
from aegis_core.arbiter.estimator import forecast, input_bound
from aegis_core.arbiter.prices import Prices
from aegis_core.arbiter.rates import Rates
from aegis_core.arbiter.shortlist import Needs, Shortlist, select
from aegis_core.errors import InvalidRequestError
from aegis_core.money import format_usd
from aegis_core.protocol import PermissionRequest

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
        caps: output caps in tokens of the last candidates, which stand for shorter answers than were asked.
    """

    candidates: tuple[Candidate, ...]
    recommended: str | None
    priced_by: PricedBy
    note: str
    code: str = "no_model"
    caps: tuple[int, ...] = ()

    def cap_of(self, model: str | None, nanos: int) -> int | None:
        """The lowered output cap of the candidate that was taken, None where the one that was asked holds."""
        shorter = self.candidates[-len(self.caps) :] if self.caps else ()
        return next((cap for each, cap in zip(shorter, self.caps, strict=True) if each == (model, nanos)), None)


@dataclass(slots=True)
class _Terms:
    """What one request says about its cost: nano-dollars, tokens, bytes. None: it says nothing."""

    claim: int | None
    prompt_bytes: int | None
    cap: int | None
    ceiling: int | None
    sized: bool
    input_tokens: int
    least: int | None = None

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

    def __init__(self, catalog: Catalog, prices: Prices) -> None:
        """`prices` must know the names of `catalog`; nothing is loaded before the first request or `warm`."""
        self._catalog = catalog
        self._prices = prices
        self._shortlist = lru_cache(maxsize=_CACHED_SHORTLISTS)(partial(select, catalog, prices))

    @property
    def catalog(self) -> Catalog:
        """The models among which it chooses."""
        return self._catalog

    def warm(self) -> None:
        """Load the prices and order the models now rather than in the first request."""
        self._prices.warm()
        for density in range(LEAST_DENSITY, GREATEST_DENSITY + 1):
            self._shortlist(density, None)

    def appraise(self, request: PermissionRequest, permitted: tuple[str, ...] = ()) -> Appraisal:
        """Say which models a request may use, in order, and what each costs at most.

        Args:
            request: what the agent wants.
            permitted: the only models that the policy allows for it, best first; none: it leaves the choice open.

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
        shortlist = self._shortlist(request.logic_density, needs)
        name, prompt, cap = request.model, request.prompt_bytes, request.max_output_tokens
        if claim is not None and prompt is cap is name is ceiling is None and shortlist.names:  # the common case, fast
            candidates = tuple([Candidate(model, claim) for model in shortlist.names[:MAX_CANDIDATES]])
            return Appraisal(candidates, shortlist.names[0], "claim", shortlist.note)
        if claim is None and prompt is None:
            raise _unpriced(cap)
        sized = prompt is not None or cap is not None
        terms = _Terms(claim, prompt, cap, ceiling, sized, input_bound(prompt or 0), request.min_output_tokens)
        if name is not None:
            if permitted and not self._among(name, permitted):
                note = f"{name} may not be used here; the policy permits only {', '.join(permitted)}."
                best = shortlist.names[0] if shortlist.names else None
                return Appraisal((), best, terms.priced_by, note, "model_not_allowed")
            return self._named(name, shortlist, terms)
        candidates = _choose(shortlist, terms, MAX_CANDIDATES)
        if not candidates:
            return Appraisal((), None, terms.priced_by, _why_none(shortlist, terms))
        best = self._catalog.by_name[candidates[0].model or ""]
        shorter, caps = _shorter(candidates[0], self._prices.rates(best.name), terms, terms.cap_of(best))
        note = shortlist.note
        return Appraisal((*candidates, *shorter), candidates[0].model, terms.priced_by, note, caps=caps)

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
        cap = terms.cap_of(model) if model else terms.cap or 0
        nanos = terms.amount(rates, cap)
        best = _choose(shortlist, terms, 1)
        recommended = best[0].model if best else None
        if terms.ceiling is not None and nanos > terms.ceiling:
            ceiling = format_usd(terms.ceiling)
            note = f"{name} costs up to {format_usd(nanos)}, more than requirements.ceiling_usd, {ceiling}."
            return Appraisal((), recommended, terms.priced_by, note)
        note = shortlist.note if best else _why_none(shortlist, terms)
        first = Candidate(self._prices.canonical(name), nanos)
        shorter, caps = _shorter(first, rates, terms, cap)
        return Appraisal((first, *shorter), recommended, terms.priced_by, note, caps=caps)


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


def _shorter(first: Candidate, rates: Rates, terms: _Terms, cap: int) -> tuple[list[Candidate], tuple[int, ...]]:
    """The same model with shorter answers, each cap three quarters of the one before, down to the least wanted."""
    caps: list[int] = []
    while terms.least is not None and terms.claim is None and cap > terms.least:
        cap = max(terms.least, cap * 3 // 4)
        caps.append(cap)
    return [Candidate(first.model, terms.amount(rates, cap)) for cap in caps], tuple(caps)


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
