"""Calls that share a question to a person, because each of them may take the place of the others.

The first one asks, and is found by a name. One that would ask joins its question, or an approval of it that nobody used
yet; a minute long it hears that it was declined. Who uses an approval takes it first (`TenantStore.take_question`).
"""

from __future__ import annotations

from collections.abc import Sequence

from aegis_core.arbiter.arbiter import Candidate
from aegis_core.store.arguments import Joins
from aegis_core.store.verbs import Authorize


def joining(order: Authorize, joins: tuple[str, int] | None, candidates: Sequence[Candidate]) -> Authorize:
    """An order that joins no question which is about less than the call can cost.

    Args:
        order: as it is without.
        joins: the name of the question, and about how much (nano-dollars) it must be at least.
        candidates: what the call may cost.
    """
    if joins is None:
        return order
    name, at_least = joins
    return order._replace(joins=Joins(name, max(at_least, min((each.nanos for each in candidates), default=0))))
