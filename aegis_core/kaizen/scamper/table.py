"""The seven verbs in their order, and what they propose for the findings of a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aegis_core.kaizen.scamper import adapt, combine, eliminate, modify, put_to_other_use, reverse, substitute
from aegis_core.kaizen.scamper.making import Idea, proposal
from aegis_core.protocol.kaizen import Finding, Proposal, Verb

VERBS: Mapping[Verb, Mapping[str, Idea]] = {
    "substitute": substitute.IDEAS,
    "combine": combine.IDEAS,
    "adapt": adapt.IDEAS,
    "modify": modify.IDEAS,
    "put_to_other_use": put_to_other_use.IDEAS,
    "eliminate": eliminate.IDEAS,
    "reverse": reverse.IDEAS,
}


def proposals(findings: Iterable[Finding]) -> tuple[Proposal, ...]:
    """What follows from findings, in their order."""
    made = (
        proposal(verb, finding, ideas[finding.detector])
        for finding in findings
        for verb, ideas in VERBS.items()
        if finding.detector in ideas
    )
    return tuple(each for each in made if each is not None)
