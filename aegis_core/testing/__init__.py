"""For tests, also those of third parties: a governor on a throw-away server, a clock, and the contract of adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis_core.testing.clocks import START, FakeClock, private_settings, quiet_zone, virtual_governor
from aegis_core.testing.scripts import CallMade, Drive, Harness, Mode, ModelScript, RunEnd, ToolUse, Turn, carry_out

if TYPE_CHECKING:
    from aegis_core.testing.contract import AdapterContract

__all__ = [
    "START",
    "AdapterContract",
    "CallMade",
    "Drive",
    "FakeClock",
    "Harness",
    "Mode",
    "ModelScript",
    "RunEnd",
    "ToolUse",
    "Turn",
    "carry_out",
    "private_settings",
    "quiet_zone",
    "virtual_governor",
]


def __getattr__(name: str) -> Any:
    """The contract needs pytest, which is loaded only for it."""
    if name == "AdapterContract":
        from aegis_core.testing.contract import AdapterContract

        return AdapterContract
    raise AttributeError(name)
