"""Writes the data that `test_growth` reads: ``python -m tests.growth.write_fixture``, for a new `layout.SCHEMA` only.

Data of an old version is what the fixture is for. So once written it stays, and later versions must read it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from .dumping import dump
from .world import build, opened, own_server

FIXTURE = Path(__file__).parent / "data_of_schema_3.json"


async def main() -> None:
    """Build the tenant on a server of its own, and dump it."""
    async with own_server() as store, opened(store) as (world, _):
        await build(world)
        FIXTURE.write_text(json.dumps(await dump(store), indent=0) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
