"""Several nodes' simulations of one transaction, where no two stand on the same block: the worst of them counts."""

from __future__ import annotations

from collections.abc import Sequence

from aegis_core.chains.simulation import Simulation


def worst_of(found: Sequence[Simulation]) -> Simulation:
    """What leaves is the most, what comes the least, and what one sees, counts."""
    if len(found) == 1:
        return found[0]
    assets = dict.fromkeys(asset for each in found for asset, _ in each.deltas)
    deltas = [(asset, min(dict(each.deltas).get(asset, 0) for each in found)) for asset in assets]
    standing: dict[str, int] = {}
    for each in found:
        for asset, amount in each.standing:
            standing[asset] = max(standing.get(asset, 0), amount)
    failed = next((each for each in found if not each.success), None)
    return Simulation(
        success=failed is None, reason=failed and failed.reason, gas=max(each.gas for each in found),
        deltas=tuple((asset, delta) for asset, delta in deltas if delta),
        unread=tuple(sorted({asset for each in found for asset in each.unread})),
        approvals=tuple(dict.fromkeys(made for each in found for made in each.approvals)),
        standing=tuple(sorted(standing.items())), creates=any(each.creates for each in found),
        touched=tuple(sorted({each for seen in found for each in seen.touched})),
        block=max(each.block for each in found), at=0,
    )  # fmt: skip
