"""The report of a day with every kind of waste, stored and told as an engine does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from aegis_core import Settings
from aegis_core.connect import open_governor
from aegis_core.kaizen.judging import judge
from aegis_core.kaizen.ports import ClosedDay
from aegis_core.protocol.kaizen import Finding, Proposal
from aegis_core.store import layout
from aegis_core.store.store import open_store
from tests.kaizen.plants import PLANTS

DAY = date(2025, 12, 1)


async def tell(settings: Settings, day: date) -> None:
    """Close a day of which the planted findings are found."""
    findings, proposals = list[Finding](), list[Proposal]()
    for name, plant in PLANTS.items():
        report = judge(plant.planted())
        findings += [each for each in report.findings if each.detector == name]
        proposals += [each for each in report.proposals if each.finding == findings[-1].id]
    whole = replace(report, findings=tuple(findings), proposals=tuple(proposals))
    store = await open_store(settings)
    governor = await open_governor(store, settings)
    await governor.kaizen.hold(60)  # where an engine runs, it has the lease, and this is done in its name
    fence = int(await store.command("HGET", layout.key(settings.tenant, "kz"), "fence"))
    assert await governor.kaizen.commit(fence, ClosedDay("0", None, "0", 0, day.toordinal(), whole))
    await governor.kaizen.leave()
    await governor.aclose()
    await store.aclose()
