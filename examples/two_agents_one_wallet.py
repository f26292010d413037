"""Two agents, one wallet: the second waits its turn, and a more urgent one takes over with notice.

    python examples/two_agents_one_wallet.py

It runs on an embedded server; set AEGIS_URL to run it on yours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aegis_core
from aegis_core import GovernedAgent


@dataclass
class Wallet:
    """Something outside Aegis that knows fences: it refuses a caller that comes with an older one than it has seen."""

    balance: int = 100
    last_fence: int = 0
    refused: list[str] = field(default_factory=list[str])

    def spend(self, amount: int, fence: int, who: str) -> bool:
        """Spend, unless a later lease has been here."""
        if fence < self.last_fence:
            self.refused.append(who)
            return False
        self.last_fence = fence
        self.balance -= amount
        return True


async def trader(agent: GovernedAgent, wallet: Wallet, turns: int) -> None:
    """Work in small steps, and go when somebody more urgent needs the wallet."""
    done = 0
    while done < turns:
        async with agent.lock("wallet_sui_main", priority=3) as lease:
            print(f"{agent.agent_id} holds the wallet, fence {lease.fence}")
            while done < turns and not lease.evicting.is_set():
                wallet.spend(1, lease.fence, agent.agent_id)
                done += 1
                await asyncio.sleep(0.02)
            if lease.evicting.is_set():
                print(f"{agent.agent_id} was asked to go, and goes")


async def rescuer(agent: GovernedAgent, wallet: Wallet) -> None:
    """Come late, with a higher priority."""
    await asyncio.sleep(0.1)
    async with agent.lock("wallet_sui_main", priority=9) as lease:
        print(f"{agent.agent_id} took over, fence {lease.fence}")
        wallet.spend(10, lease.fence, agent.agent_id)


async def main() -> None:
    """Let them meet."""
    wallet = Wallet()
    async with aegis_core.connect() as governor:
        ann, bob = [await governor.handshake(name) for name in ("ann", "bob")]
        urgent = await governor.handshake("risk-desk", max_priority=9)
        await asyncio.gather(trader(ann, wallet, 10), trader(bob, wallet, 10), rescuer(urgent, wallet))

        async with ann.lock("wallet_sui_main") as lease:
            old = lease.fence
        async with bob.lock("wallet_sui_main") as lease:
            wallet.spend(1, lease.fence, "bob")
        late = wallet.spend(1, old, "ann")
        print(f"ann's late write with fence {old} was {'accepted' if late else 'refused'}")
    print(f"left in the wallet: {wallet.balance}")


if __name__ == "__main__":
    asyncio.run(main())
