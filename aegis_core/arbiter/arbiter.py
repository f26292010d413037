"""The arbiter: which models a request may use, in the order of preference, and what each reserves at most.

A logic density asks for a tier, which outcomes may lower or raise; the cheapest model of that tier comes first, dearer
ones and higher tiers follow as fallbacks, lower tiers only where the policy lists them. Same request and same evidence,
same answer: there is no state but caches.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from aegis_core.arbiter.catalog import GREATEST_DENSITY, LEAST_DENSITY, Catalog
from aegis_core.arbiter.evidence import NO_EVIDENCE, Choice, Evidence, lowered_by_text
from aegis_core.arbiter.forecast import FORECAST_INPUT, FORECAST_OUTPUT
from aegis_core.arbiter.shortlist import Needs, PricedModel, Shortlist, select
from aegis_core.arbiter.terms import (
    MAX_CANDIDATES,
    Appraisal,
    Candidate,
    Priced,
    Terms,
    choose,
    shorter,
    strongest,
    wanted,
    why_none,
)
from aegis_core.arbiter.why import Considered, Why, cost_of_both, packed
from aegis_core.metering.allowed import AllowedRates
from aegis_core.metering.price_book import PriceBook
from aegis_core.metering.tokens import input_bound
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.messages import PermissionRequest, Verdict
from aegis_core.protocol.money import format_usd, to_usd
from aegis_core.protocol.usage import Allowance

if TYPE_CHECKING:
    from aegis_core.arbiter.routing.gain import GainModel

_CACHED_SHORTLISTS = 1_024

SMALLEST_ANSWER = 16
"""Tokens below which an answer says nothing."""


class Arbiter:
    """Appraises requests against a catalog and its prices."""

    def __init__(self, catalog: Catalog, prices: PriceBook, text_model: GainModel | None = None) -> None:
        """Nothing is loaded before the first request or `warm`.

        Args:
            catalog: the models.
            prices: must know the names of `catalog`.
            text_model: a fitted estimator for two models of the catalog, of which the strong one has the higher tier.
        """
        self._catalog = catalog
        self._explained = lru_cache(maxsize=_CACHED_SHORTLISTS)(self._explain)
        self.use(prices)
        self._usable = frozenset(model.tier for model in catalog.models if model.healthy)
        self._text_model = text_model
        weak, strong = (catalog.find(text_model.weak), catalog.find(text_model.strong)) if text_model else (None, None)
        self._text_tiers = (weak.tier, strong.tier) if weak and strong else (0, 0)

    @property
    def catalog(self) -> Catalog:
        """The models among which it chooses."""
        return self._catalog

    @property
    def prices(self) -> PriceBook:
        """What models cost, at present."""
        return self._prices

    def tier_of(self, name: str) -> int | None:
        """The tier of a model of the catalog; None too where no model of that tier may be recommended at present."""
        model = self._catalog.find(name)
        return model.tier if model and model.tier in self._usable else None

    def warm(self) -> None:
        """Load the prices and order the models now rather than in the first request."""
        self._prices.warm()
        for density in range(LEAST_DENSITY, GREATEST_DENSITY + 1):
            self._shortlist(density, None, 0)

    def use(self, prices: PriceBook) -> None:
        """Count by another book, from the next request on."""
        self._prices = prices
        self._shortlist = lru_cache(maxsize=_CACHED_SHORTLISTS)(partial(select, self._catalog, prices))
        self._explained.cache_clear()

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
        needs, ceiling = _needs_of(request, permitted)
        name, prompt, cap = request.model, _prompt_of(request), request.max_output_tokens
        choice = self._choice(request, evidence)
        shortlist = self._shortlist_for(request.logic_density, needs, choice)
        said = (request.task_type or "", request.logic_density, choice, evidence.version)
        if claim is not None and prompt is cap is name is ceiling is request.verify is None and shortlist.names:
            candidates = tuple([Candidate(model, claim) for model in shortlist.names[:MAX_CANDIDATES]])
            why = self._explained(shortlist, *said)  # the common case, fast
            return Appraisal(candidates, shortlist.names[0], "claim", shortlist.note, why=why)
        if claim is None and prompt is None:
            raise _unpriced(cap)
        allows = request.allows
        allowed = None if allows is None else partial(self._allowed, allows)
        terms = Terms(claim, prompt, cap, ceiling, request.min_output_tokens, allowed)
        if name is None:
            cheap_first = request.verify is not None and not permitted
            appraisal, considered = self._chosen(shortlist, terms, needs, choice if cheap_first else None)
        elif permitted and not self._among(name, permitted):
            note = f"{name} may not be used here; the policy permits only {', '.join(permitted)}."
            best = shortlist.names[0] if shortlist.names else None
            return Appraisal((), best, terms.priced_by, note, "model_not_allowed")
        else:
            appraisal, considered = self._named(name, shortlist, terms)
        if not considered:
            return appraisal
        escalation = appraisal.candidates[0].model if appraisal.checked else None
        return appraisal._replace(why=self._explain(shortlist, *said, terms, considered, escalation))

    def say_caps(
        self,
        verdict: Verdict,
        request: PermissionRequest,
        appraisal: Appraisal,
        model: str | Literal[False],
        nanos: int,
    ) -> None:
        """Say to what the candidate that was taken cuts an answer, one of `model` at so many nano-dollars.

        And where no money reached, what the smallest useful answer would cost by the cheapest model.
        """
        verdict.max_output_tokens = appraisal.cap_of(model or None, nanos)
        prompt, allows = _prompt_of(request), request.allows
        if verdict.code != "budget_exceeded" or prompt is None or request.estimated_cost_usd is not None:
            return
        names = {each.model for each in appraisal.candidates if each.model}
        rates = [self._prices.text_rates(name) if allows is None else self._allowed(allows, name) for name in names]
        least = min((each.bound(prompt, SMALLEST_ANSWER) for each in rates), default=None)
        verdict.least_usd = None if least is None else to_usd(least)

    def _shortlist_for(self, density: int, needs: Needs | None, choice: Choice) -> Shortlist:
        """That of the tier that was chosen; where it was lowered and has no model, that of the tier asked for."""
        shortlist = self._shortlist(density, needs, 0 if choice.tier == choice.asked else choice.tier)
        if choice.tier < choice.asked and not shortlist.names:
            return self._shortlist(density, needs, 0)
        return shortlist

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

    def _explain(
        self,
        shortlist: Shortlist,
        task_type: str,
        density: int,
        choice: Choice,
        version: int,
        terms: Terms | None = None,
        considered: tuple[Considered, ...] = (),
        escalation: str | None = None,
    ) -> str:
        """Why these models (default: the first of the shortlist), for the record."""
        tokens = terms.expected if terms else (FORECAST_INPUT, FORECAST_OUTPUT)
        models = considered or tuple(_considered(entry, tokens) for entry in shortlist.ranked[:MAX_CANDIDATES])
        best = (_considered(entry, tokens) for entry in strongest(shortlist, terms))
        dearest = min(best, key=lambda each: each.expected)
        # Only the policy's own order leads to a lower tier than was wanted; a cheaper stronger model is not missed.
        first = wanted(shortlist, terms) if shortlist.fixed else None
        name, tier = (first.name, first.tier) if first else (models[0].model, min(models[0].tier, choice.tier))
        prices = self._prices.version
        return packed(Why(task_type, density, choice, models, dearest, prices, version, name, tier, escalation))

    def _chosen(
        self, shortlist: Shortlist, terms: Terms, needs: Needs | None, cheap_first: Choice | None
    ) -> tuple[Appraisal, tuple[Considered, ...]]:
        """The best models of the shortlist, and the same for the record; `cheap_first`: with one to try before them."""
        chosen = choose(shortlist, terms, MAX_CANDIDATES)
        if not chosen:
            return Appraisal((), None, terms.priced_by, why_none(shortlist, terms)), ()
        best = chosen[0]
        model = best.entry.model
        short, caps = shorter(model.name, terms.rates_of(model.name, best.entry.rates), terms, terms.cap_of(model))
        candidates = (*(each.candidate for each in chosen), *short)
        appraisal = Appraisal(candidates, model.name, terms.priced_by, shortlist.note, caps=caps)
        considered = tuple([each.considered for each in chosen])
        cheap = self._cheaper(best, needs, terms, cheap_first) if cheap_first else None
        if cheap is None:
            return appraisal, considered
        first = cheap.considered
        candidates = (Candidate(model.name, cheap.nanos), *candidates)
        appraisal = appraisal._replace(candidates=candidates, recommended=first.model, checked=first.model)
        return appraisal, (first, *considered)

    def _cheaper(self, best: Priced, needs: Needs | None, terms: Terms, choice: Choice) -> Priced | None:
        """A cheaper model to call before the best one, which follows where a verifier refuses the answer.

        Its amounts are those of both. None where the cheaper one fails so often that both together are expected to cost
        more than the better one alone.
        """
        weaker = (entry for tier in self._shortlist(LEAST_DENSITY, needs, 1).tiers for entry in tier)
        found = [
            (cost_of_both(_considered(entry, terms.expected), best.expected, choice), entry)
            for entry in weaker
            if entry.model.tier < best.entry.model.tier and terms.fits(entry.model)
        ]
        expected, cheap = min(found, key=lambda pair: pair[0], default=(best.expected, None))
        if cheap is None or expected >= best.expected:
            return None
        alone = terms.amount_or_none(cheap)
        if alone is None or (terms.ceiling is not None and best.nanos + alone > terms.ceiling):
            return None
        return Priced(cheap, best.nanos + alone, expected)

    def _allowed(self, allows: Allowance, name: str) -> AllowedRates:
        return AllowedRates(self._prices, name, allows)

    def _among(self, name: str, permitted: tuple[str, ...]) -> bool:
        canonical = self._prices.canonical
        return canonical(name) in {canonical(each) for each in permitted}

    def _named(self, name: str, shortlist: Shortlist, terms: Terms) -> tuple[Appraisal, tuple[Considered, ...]]:
        """Price the model that the agent will call, and recommend what the arbiter would have chosen."""
        rates, canonical = self._prices.text_rates(name), self._prices.canonical(name)
        cap = terms.cap
        if cap is None:
            model = self._catalog.find(name) or self._catalog.by_name.get(canonical)
            cap = model.max_output_tokens if model else self._prices.output_maximum(name)
        if cap is None and terms.claim is None:
            problem = f"is required, because nothing says how long an answer of {name} may be; give it a cap"
            raise _missing("max_output_tokens", problem)
        cap = cap or 0
        nanos = terms.amount(name, rates, cap)
        best = next(iter(choose(shortlist, terms, 1)), None)
        recommended, considered = (best.entry.model.name, (best.considered,)) if best else (None, ())
        if terms.ceiling is not None and nanos > terms.ceiling:
            ceiling = format_usd(terms.ceiling)
            note = f"{name} costs up to {format_usd(nanos)}, more than requirements.ceiling_usd, {ceiling}."
            return Appraisal((), recommended, terms.priced_by, note), considered
        note = shortlist.note if best else why_none(shortlist, terms)
        short, caps = shorter(canonical, terms.rates_of(name, rates), terms, cap)
        candidates = (Candidate(canonical, nanos), *short)
        listed = self._catalog.by_name.get(canonical)
        if best and listed and canonical != recommended:
            expected = self._prices.text_rates(canonical).expected(*terms.expected)
            considered = (*considered, Considered(canonical, listed.tier, expected))
        return Appraisal(candidates, recommended, terms.priced_by, note, caps=caps), considered


def _considered(entry: PricedModel, tokens: tuple[int, int]) -> Considered:
    """A model for the record, with what so many tokens are expected to cost."""
    return Considered(entry.model.name, entry.model.tier, entry.rates.expected(*tokens))


def _needs_of(request: PermissionRequest, permitted: tuple[str, ...]) -> tuple[Needs | None, int | None]:
    """What a model must be able to do, and the most it may cost in nano-dollars."""
    required = request.requirements
    if required is None:
        return Needs(permitted=permitted) if permitted else None, None
    needs = Needs(
        required.tools, required.vision, required.min_context_tokens, required.providers, required.models,
        required.or_strongest, permitted,
    )  # fmt: skip
    return needs, None if required.ceiling_usd is None else int(required.ceiling_usd.scaleb(9))


def _prompt_of(request: PermissionRequest) -> int | None:
    """The most tokens of the prompt."""
    return request.prompt_tokens if request.prompt_bytes is None else input_bound(request.prompt_bytes)


def _unpriced(cap: int | None) -> InvalidRequestError:
    if cap is not None:
        problem = "this or prompt_tokens is required beside max_output_tokens unless estimated_cost_usd is given"
        return _missing("prompt_bytes", problem)
    return _missing(
        "estimated_cost_usd",
        "is missing; give the cost in dollars, or prompt_bytes or prompt_tokens (and max_output_tokens) to have it "
        "estimated",
    )


def _missing(field: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)
