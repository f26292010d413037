"""A server of its own for every module of HTTP tests, and a client that speaks plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from serving import OPERATOR, serving, trusting

from aegis_core import Settings
from aegis_core.testing import private_settings


@pytest.fixture(scope="module")
def served(server_url: str) -> Settings:
    """The settings of the server under test."""
    return private_settings(
        url=server_url,
        tenant=f"t-{uuid4().hex[:12]}",
        operator_secret=SecretStr(OPERATOR),
        tenant_day_usd=1_000_000,
        approval_seconds=1.0,
    )


@pytest.fixture(scope="module")
def base(served: Settings) -> Iterator[str]:
    with serving(served) as url:
        trusting(url)
        yield url


@pytest.fixture
def http(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{base}/api/v1", trust_env=False, timeout=30) as client:
        yield client
