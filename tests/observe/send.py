"""Serves a tenant's webhooks in a process of its own: ``send.py URL TENANT WEBHOOKS``, the last as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

import aegis_core
from aegis_core.observe.sending import sending
from aegis_core.testing import private_settings
from tests.observe.posted import QUICK, resources, senders


async def main(url: str, tenant: str, webhooks: str) -> None:
    settings = private_settings(url=url, tenant=tenant, event_webhooks=json.loads(webhooks))
    async with (
        aegis_core.connect(settings=settings) as governor,
        sending(senders(resources(governor), settings, QUICK)),
    ):
        print("serving", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
