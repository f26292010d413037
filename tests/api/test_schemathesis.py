"""Everything that the OpenAPI document allows, and much that it does not, against the real server."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from conforming import agent, base, holds, schema
from hypothesis import HealthCheck
from hypothesis import settings as effort

__all__ = ["agent", "base"]


@pytest.mark.leaves("grants", "questions", "leases")
@schema.parametrize()
@effort(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_document_holds(case: schemathesis.Case, base: str, agent: httpx.Client) -> None:
    holds(case, base, agent)
