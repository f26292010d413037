"""Why a model was recommended, as text for the record, from which the script keeps what concerns the model it chose.

The first line is about the request, each other one about a model that it may be served by; fields end at tabs. New
fields go to the end of a line.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple, cast

from aegis_core.arbiter.evidence import CONFIDENCE, TARGET, Basis, Choice
from aegis_core.protocol.messages import Routing
from aegis_core.protocol.money import to_usd


class Considered(NamedTuple):
    """One model that a request may be served by: its tier, and the nano-dollars that the task is expected to cost."""

    model: str
    tier: int
    expected: int


class Why(NamedTuple):
    """What there is to say of a choice before the script has made it.

    Attributes:
        task_type, density: what the agent declared, by which the outcome will be counted.
        choice: the tier and the evidence.
        considered: those that may be recommended, best first.
        strongest: what always using the strongest would cost.
        priced: the version of the prices.
        version: of the table of outcomes.
        wanted: the model that comes first, were there money for it.
        wanted_tier: its tier, or what would have been enough; a lower one is a degradation.
        escalation: the model to call when the caller's verifier refuses the answer of the first.
    """

    task_type: str
    density: int
    choice: Choice
    considered: tuple[Considered, ...]
    strongest: Considered
    priced: str
    version: int
    wanted: str
    wanted_tier: int
    escalation: str | None = None


def cost_of_both(cheap: Considered, dear: int, choice: Choice) -> int:
    """Nano-dollars to expect of a cheap call, and of a dear one as often as the cheap one's answer is refused."""
    return cheap.expected + math.ceil((1 - choice.estimates[cheap.tier - 1].mean) * dear)


def packed(why: Why) -> str:
    """As the script takes it; shares are in thousandths."""
    choice, strongest = why.choice, why.strongest
    about = (
        why.task_type, why.density, choice.asked, choice.tier, choice.basis, round(choice.outcomes), strongest.model,
        strongest.expected, why.priced, why.version, why.escalation or "", why.wanted, why.wanted_tier,
    )  # fmt: skip
    lines = ["\t".join(map(str, about))]
    for model, tier, expected in why.considered:
        mean, lower, _ = choice.estimates[tier - 1]
        lines.append(f"{model}\t{tier}\t{expected}\t{round(mean * 1_000)}\t{round(lower * 1_000)}")
    return "\n".join(lines)


@lru_cache(maxsize=1_024)
def routing_of(text: str) -> Routing | None:
    """What a record says of the model that was recommended; None: none of those considered was."""
    about, _, line = text.partition("\n")
    if not line:
        return None
    _, _, asked, tier, basis, outcomes, strongest, nanos, priced, version, escalation, first, highest, *_ = about.split(
        "\t"
    )  # a newer version may say more
    model, own, expected, mean, lower, *_ = line.split("\t")
    basis = cast("Basis", basis)
    degraded = model != first and int(own) < int(highest)
    backed = escalation if escalation and model == first else None
    note = _degraded(int(own), int(highest)) if degraded else _note(basis, int(asked), int(tier), int(outcomes))
    return Routing(
        model=model,
        evidence=basis,
        outcomes=int(outcomes),
        expected_quality=int(mean) / 1_000,
        quality_bound=int(lower) / 1_000,
        target=TARGET,
        expected_cost_usd=to_usd(int(expected)),
        strongest_model=strongest,
        strongest_cost_usd=to_usd(int(nanos)),
        price_version=priced,
        outcomes_version=int(version),
        degraded=degraded,
        escalation_model=backed,
        note=f"Its answer is to be verified, and {backed} called when it does not pass. {note}" if backed else note,
    )


def _degraded(tier: int, wanted: int) -> str:
    return (
        f"Degraded from tier {wanted} to tier {tier}, as the policy allows, because the ceiling or the money that is "
        "left does not cover more."
    )


def _note(basis: Basis, asked: int, tier: int, outcomes: int) -> str:
    """What decided the tier, in words."""
    if basis == "prior":
        return f"No outcomes decide, so the declared density does: tier {asked}. The figures are a weak prior."
    if basis == "text":
        return f"The fitted text model expects too little from tier {asked}, which the declared density asks for."
    whose = "of this task type" if basis == "task_type" else "of this agent at this density"
    said = f"{outcomes} outcomes {whose}"
    if tier < asked:
        kept = f"keeps {TARGET:.0%} of the quality (bound of {CONFIDENCE:.0%})"
        return f"{said} show that tier {tier} {kept}, where the declared density asks for tier {asked}."
    if tier > asked:
        return f"{said} show that tier {asked}, which the declared density asks for, falls short; tier {tier} does not."
    return f"{said} leave tier {asked} as it is."
