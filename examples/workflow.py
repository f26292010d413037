"""A whole workflow: one plan, two agents, one approval. What falls within is granted, what exceeds it is asked.

    python examples/workflow.py

It runs on an embedded server, and the person who approves is played by this program; set AEGIS_URL to run it on yours.
"""

from __future__ import annotations

import asyncio

import aegis_core
from aegis_core import Governor, Step

PLAN = [
    Step(tool="export_ledger", times=4, upto_usd="0.10"),
    Step(resource_type="llm_tokens", upto_usd="6"),
    Step(tool="pay_invoice", times=3, upto_usd="5"),
]


async def person(governor: Governor) -> None:
    """Sees the plan, and approves it once: as `aegis approvals approve`, the HTTP API or Telegram would."""
    async for event in governor.follow(after="0"):
        for asked in await governor.approvals.list() if event.kind == "pending" else ():
            if asked.plan is not None:
                print(f"A person is asked about: {asked.plan.name}, ${asked.amount_usd:.2f} in all")
                for step in asked.plan.steps:
                    often = f"{step.times} times up to" if step.times else "all together up to"
                    print(f"  {step.number}. {step.tool or step.resource_type}: {often} ${step.upto_usd:.2f}")
                await governor.approvals.decide(asked.approval_id, "approve", by="ada", content=asked.content)
                return


async def main() -> None:
    """Open, join, ask, and look at what became of it."""
    async with aegis_core.connect() as governor:
        approving = asyncio.create_task(person(governor))
        opener = await governor.handshake("bookkeeper")
        await governor.set_budget("agent", "bookkeeper", "day", "12")  # an operator: by default an agent has $10 a day
        async with governor.workflow("close the books", budget_usd="12", until="2h", plan=PLAN, opener=opener) as flow:
            await approving
            planner = await flow.join("planner", framework="langgraph")
            token = await flow.invite(agents="payer")  # handed to another process, framework or language
            payer = await governor.join(token, "payer", framework="crewai")

            async with planner.permit("Read the ledger", tool="export_ledger", resource_type="api_call",
                                      estimated_cost_usd="0.10") as grant:  # fmt: skip
                grant.settle(cost_usd="0.04")
            for number in range(1, 5):
                verdict = await payer.request(
                    f"Pay invoice {number}", tool="pay_invoice", resource_type="api_call", estimated_cost_usd="1.50"
                )
                print(f"Invoice {number}: {verdict.status}. {verdict.reason}")
                if verdict.granted and verdict.grant_id:
                    await payer.settle(verdict.grant_id, cost_usd="1.50")

            found = await flow.report()
            print(f"Planned ${found.plan.budget_usd:.2f}, used ${found.used_usd:.2f}, asked beside it {found.asked}")
            await flow.end()
        late = await planner.request("Read on", tool="export_ledger", resource_type="api_call", estimated_cost_usd=0)
        print(f"After its end: {late.status} ({late.code})")


if __name__ == "__main__":
    asyncio.run(main())
