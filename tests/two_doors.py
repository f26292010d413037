"""Fixtures for contracts that hold on Redis and over HTTP alike: one governor by either door, and two of its agents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from serving import OPERATOR, serving

import aegis_core
from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"operator_secret": SecretStr(OPERATOR)})


@pytest.fixture(params=["local", "remote"])
def url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    if request.param == "local":
        yield settings.url
    else:
        with serving(settings) as address:
            yield address


@pytest.fixture
async def governor(url: str, settings: Settings) -> AsyncIterator[Governor]:
    async with aegis_core.connect(url, token=OPERATOR, settings=settings) as connected:
        yield connected


@pytest.fixture
async def ann(governor: Governor) -> GovernedAgent:
    return await governor.handshake("ann", max_priority=9)


@pytest.fixture
async def bob(governor: Governor) -> GovernedAgent:
    return await governor.handshake("bob", max_priority=5)


async def until_someone_waits(governor: Governor) -> None:
    """Until somebody is in the queue of the lock ``wallet``."""
    for _ in range(1_000):
        if (found := await governor.locks("wallet")) and found[0].queued:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody waits")
