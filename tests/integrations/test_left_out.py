"""What frameworks cannot have stands in the docs, word for word as it is declared."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"


def harnesses() -> list[Any]:
    """Those of all adapters; frameworks warn while they are imported."""
    os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from integrations.agentchat.harness import AgentHarness, TeamHarness
        from integrations.autogen_classic.harness import ClassicHarness
        from integrations.crewai.harness import CrewHarness
        from integrations.langchain.harness import CallbackHarness, ChatModelHarness, MiddlewareHarness
        from integrations.langgraph.harness import GraphHarness
    return [
        CallbackHarness, MiddlewareHarness, ChatModelHarness, GraphHarness, CrewHarness, ClassicHarness, AgentHarness,
        TeamHarness,
    ]  # fmt: skip


def test_the_docs_name_every_absence_with_its_reason() -> None:
    page = PAGE.read_text().split("## What a framework cannot have")[1]
    written = {
        (adapter, name, reason)
        for adapter, names, reason in re.findall(r"^\| (.+?) \| (`.+?) \| (.+?) \|$", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    declared = {(each.framework, name, reason) for each in harnesses() for name, reason in each.lacks.items()}
    assert written == declared
