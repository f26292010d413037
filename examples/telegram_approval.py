"""An agent asks for more than it may spend alone; you decide on Telegram, and it goes on.

docs/channels.md says how to make a bot in five minutes. Then:

    export AEGIS_TELEGRAM_TOKEN=123456:ABC… AEGIS_TELEGRAM_CHAT_ID=-100… AEGIS_TELEGRAM_OPERATORS=123456=ana
    python examples/telegram_approval.py

State lives in an embedded server unless AEGIS_URL says otherwise.
"""

from __future__ import annotations

import asyncio
import sys

import aegis_core
from aegis_core import AegisDenied, AegisError
from aegis_core.channels.registry import serving
from aegis_core.settings import load_settings


async def main() -> None:
    settings = load_settings()
    async with serving(settings) as channels, aegis_core.connect(settings=settings) as governor:
        agent = await governor.handshake("example-buyer")
        print(f"Asking on {', '.join(channels)} …")
        try:
            async with agent.permit("Rent a GPU for the night", resource_type="compute", estimated_cost_usd=6) as grant:
                print(f"Approved: {grant.verdict.grant_id}. Renting …")
                grant.settle(cost_usd=5.50)
        except AegisDenied as denied:
            print(f"Not approved: {denied}")
        await asyncio.sleep(2)  # the message on Telegram still learns how it ended


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except AegisError as error:
        sys.exit(f"aegis: {error.message}")
