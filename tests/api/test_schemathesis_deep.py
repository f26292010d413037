"""As `test_schemathesis`, in many cases; a module of its own, because its cases take long to make."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from conforming import agent, base, holds, schema
from hypothesis import HealthCheck
from hypothesis import settings as effort

__all__ = ["agent", "base"]


@pytest.mark.deep
@pytest.mark.leaves("grants", "questions", "leases")
@schema.parametrize()
@effort(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_document_holds_in_many_cases(case: schemathesis.Case, base: str, agent: httpx.Client) -> None:
    holds(case, base, agent)
