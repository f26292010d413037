"""Aegis for CrewAI: tools, models and whole crews that ask before they act.

CrewAI takes seconds to import, so it is loaded with the first of these names and not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from aegis_core.adapting import missing_extra, warn_outside
from aegis_crewai.environment import own_environment, refuse_read_settings

if TYPE_CHECKING:
    from aegis_crewai.coverage import Place
    from aegis_crewai.crew import GovernedCrew, govern_crew
    from aegis_crewai.denials import CallRefused, CallStopped
    from aegis_crewai.llm import GovernedLLM
    from aegis_crewai.tools import GovernedTool, RefusedTool, govern_tools

_HOMES = {
    "CallRefused": "denials",
    "CallStopped": "denials",
    "GovernedCrew": "crew",
    "GovernedLLM": "llm",
    "GovernedTool": "tools",
    "Place": "coverage",
    "RefusedTool": "tools",
    "govern_crew": "crew",
    "govern_tools": "tools",
}

__all__ = [
    "CallRefused",
    "CallStopped",
    "GovernedCrew",
    "GovernedLLM",
    "GovernedTool",
    "Place",
    "RefusedTool",
    "govern_crew",
    "govern_tools",
]


refuse_read_settings()  # now, for a program that connects before it uses any of these


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        refuse_read_settings()
        with own_environment():
            module = import_module(f"{__name__}.{home}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("crewai"):
            raise
        raise missing_extra("aegis_crewai", "crewai") from error
    warn_outside("crewai", "1.15", "2")
    return getattr(module, name)
