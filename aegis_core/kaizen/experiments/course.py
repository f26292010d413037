"""How the evidence of an experiment grew, pair by pair in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_core.kaizen.experiments.betting import Evidence, least_ratio
from aegis_core.protocol.experiments import EvidencePoint

_POINTS = 20


def course(pairs: Sequence[tuple[float, float]], margin: float) -> tuple[EvidencePoint, ...]:
    """At most so many points from the first pair to the last, evenly apart."""
    if not pairs:
        return ()
    wanted = {max(1, len(pairs) * at // _POINTS) for at in range(1, _POINTS + 1)}
    evidence, points = Evidence(margin), list[EvidencePoint]()
    present = candidate = 0.0
    for n, (one, two) in enumerate(pairs, 1):
        evidence.add(one, two)
        present, candidate = present + one, candidate + two
        if n in wanted:
            ratio = candidate / present if present else 0.0
            points.append(EvidencePoint(n, round(ratio, 6), round(least_ratio(pairs[:n]), 6), round(evidence.log_e, 6)))
    return tuple(points)
