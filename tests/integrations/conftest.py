"""Fixtures that the tests of all adapters share, and their rule: in continuous integration none of them is skipped."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from .ledger import s2, s2_aegis

__all__ = ["s2", "s2_aegis"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Only the recorded traffic may be absent there; what a framework cannot have is not collected at all.

    LangChain's own tests leave out themselves what a provider has not.
    """
    report = yield
    recorded = "shared_data" in getattr(item, "fixturenames", ())
    standard = getattr(getattr(item, "function", None), "__module__", "").startswith("langchain_tests.")
    if report.skipped and not recorded and not standard and os.environ.get("CI"):
        report.outcome, report.longrepr = "failed", f"skipped in continuous integration: {report.longrepr}"
    return report
