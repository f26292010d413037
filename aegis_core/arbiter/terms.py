"""What a request says about its cost, and the candidates that follow from it in the order of preference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from aegis_core.arbiter.catalog import Model
from aegis_core.arbiter.forecast import forecast
from aegis_core.arbiter.shortlist import PricedModel, Shortlist
from aegis_core.arbiter.why import Considered
from aegis_core.metering.allowed import AllowedRates
from aegis_core.metering.text_rates import TextRates
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.money import format_usd

MAX_CANDIDATES = 6
"""Candidates of one appraisal; the store tries them in turn."""

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
        caps: output caps in tokens of the last candidates, which stand for shorter answers than were asked.
    """

    candidates: tuple[Candidate, ...]
    recommended: str | None
    priced_by: PricedBy
    note: str
    code: str = "no_model"
    why: str | None = None
    checked: str | None = None
    caps: tuple[int, ...] = ()

    def cap_of(self, model: str | None, nanos: int) -> int | None:
        """The lowered output cap of the candidate that was taken, None where the one that was asked holds."""
        short = self.candidates[-len(self.caps) :] if self.caps else ()
        return next((cap for each, cap in zip(short, self.caps, strict=True) if each == (model, nanos)), None)


class Priced(NamedTuple):
    """A model of the catalog that can take a request, the nano-dollars to reserve for it, and those to expect."""

    entry: PricedModel
    nanos: int
    expected: int

    @property
    def candidate(self) -> Candidate:
        """For the script."""
        return Candidate(self.entry.model.name, self.nanos)

    @property
    def considered(self) -> Considered:
        """For the record."""
        return Considered(self.entry.model.name, self.entry.model.tier, self.expected)


@dataclass(slots=True)
class Terms:
    """What one request says about its cost, in nano-dollars and tokens. None: it says nothing.

    `sized`: it says how long prompt or answer may be. `expected`: tokens of prompt and answer, to compare prices by.
    `allowed`: the prices of a model for what the request allows beside plain text.
    """

    claim: int | None
    prompt: int | None
    cap: int | None
    ceiling: int | None
    least: int | None = None
    allowed: Callable[[str], AllowedRates] | None = None
    sized: bool = field(init=False)
    input_tokens: int = field(init=False)
    expected: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.sized = self.prompt is not None or self.cap is not None
        self.input_tokens = self.prompt or 0
        self.expected = forecast(self.prompt, self.cap)

    @property
    def priced_by(self) -> PricedBy:
        return "sizes" if self.claim is None else "both" if self.sized else "claim"

    def amount(self, name: str, rates: TextRates, cap: int) -> int:
        """Nano-dollars to reserve: the claim or the bound with `cap` output tokens, whichever is higher.

        Raises:
            InvalidRequestError: something that the request allows has no price with this model.
        """
        claim = self.claim or 0
        if not self.sized:
            return claim
        return max(claim, self.rates_of(name, rates).bound(self.input_tokens, cap))

    def rates_of(self, name: str, rates: TextRates) -> TextRates | AllowedRates:
        """The prices of a model for what the request allows; `rates` are those for plain text."""
        return rates if self.allowed is None else self.allowed(name)

    def amount_or_none(self, entry: PricedModel) -> int | None:
        """The same for a model of the catalog; None: something that the request allows has no price with it."""
        try:
            return self.amount(entry.model.name, entry.rates, self.cap_of(entry.model))
        except InvalidRequestError:
            return None

    def cap_of(self, model: Model) -> int:
        """Tokens that the answer of a model of the catalog may have."""
        return model.max_output_tokens if self.cap is None else self.cap

    def fits(self, model: Model) -> bool:
        """Prompt and answer together stay within the context, as far as the request gave sizes."""
        return not self.sized or self.input_tokens + self.cap_of(model) <= model.context_tokens


def choose(shortlist: Shortlist, terms: Terms, most: int) -> list[Priced]:
    """The best models, tier by tier, each tier ordered by what this request is expected to cost in it.

    Before them all comes a stronger model that is expected to cost less, unless the order is the policy's.
    """
    chosen: list[Priced] = []
    best: Priced | None = None
    least = 0
    ceiling, tokens = terms.ceiling, terms.expected
    for tier, floor in zip(shortlist.tiers, shortlist.floors, strict=True):
        if len(chosen) >= most and (shortlist.fixed or floor.expected(*tokens) >= least):
            continue
        priced = [(entry.rates.expected(*tokens), entry) for entry in tier]
        if terms.sized:  # the sort keeps the order of equals, which is that of the shortlist; so does a claim
            priced.sort(key=_expected)
        for expected, entry in priced:
            cheaper = best is None or expected < least
            if len(chosen) >= most and not cheaper:
                break  # those after it cost no less
            model = entry.model
            if not terms.fits(model):
                continue
            nanos = terms.amount_or_none(entry)
            if nanos is not None and (ceiling is None or nanos <= ceiling):
                chosen.append(Priced(entry, nanos, expected))
                if cheaper:
                    best, least = chosen[-1], expected
    if best and not shortlist.fixed and best is not chosen[0]:
        chosen = [best, *(each for each in chosen if each is not best)]
    return chosen[:most]


def strongest(shortlist: Shortlist, terms: Terms | None) -> tuple[PricedModel, ...]:
    """Those of the highest tier that could take the request; where none could, those of the highest tier."""
    if terms is None or all(terms.fits(entry.model) for entry in shortlist.strongest):
        return shortlist.strongest
    fitting = [entry for tier in shortlist.tiers for entry in tier if terms.fits(entry.model)]
    top = max((entry.model.tier for entry in fitting), default=0)
    return tuple(entry for entry in fitting if entry.model.tier == top) or shortlist.strongest


def wanted(shortlist: Shortlist, terms: Terms | None) -> Model:
    """The first model that could take the request, were there money for it; of a list that is not empty."""
    entries = [entry for tier in shortlist.tiers for entry in tier]
    fitting = (entry for entry in entries if terms is None or terms.fits(entry.model))
    return next(fitting, entries[0]).model


def _expected(priced: tuple[int, PricedModel]) -> int:
    return priced[0]


def shorter(
    name: str, rates: TextRates | AllowedRates, terms: Terms, cap: int
) -> tuple[list[Candidate], tuple[int, ...]]:
    """A model with shorter answers than `cap`, down to the least that is wanted, and the caps of these."""
    if terms.least is None or terms.claim is not None:
        return [], ()
    caps = _shorter_caps(cap, terms.least)
    return [Candidate(name, nanos) for nanos in rates.bounds(terms.input_tokens, caps)], caps


@lru_cache(maxsize=1_024)
def _shorter_caps(cap: int, least: int) -> tuple[int, ...]:
    """Each is three quarters of the one before."""
    caps: list[int] = []
    while cap > least:
        cap = max(least, cap * 3 // 4)
        caps.append(cap)
    return tuple(caps)


def why_none(shortlist: Shortlist, terms: Terms) -> str:
    """Which requirement left no candidate, and what the nearest possibility is."""
    entries = [entry for tier in shortlist.tiers for entry in tier]
    if not entries:
        return shortlist.note
    fitting = [entry for entry in entries if terms.fits(entry.model)]
    if not fitting:
        widest = max(entries, key=lambda entry: entry.model.context_tokens - terms.cap_of(entry.model)).model
        tokens = terms.input_tokens + terms.cap_of(widest)
        return (
            f"The prompt and max_output_tokens come to as many as {tokens:,} tokens, and the longest context that is "
            f"left is {widest.context_tokens:,} ({widest.name}); send less, or lower max_output_tokens."
        )
    priced = [(nanos, entry.model.name) for entry in fitting if (nanos := terms.amount_or_none(entry)) is not None]
    if not priced:
        return "None of the models that are left has a price for what the request allows (a tier, hosted tools)."
    nanos, name = min(priced)
    return (
        f"requirements.ceiling_usd, {format_usd(terms.ceiling or 0)}, is below the cheapest possibility: "
        f"{name} at up to {format_usd(nanos)}."
    )
