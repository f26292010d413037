"""Which tests belong to which room of the package, for ``make test ROOM=store``. `test_rooms.py` keeps it whole."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

TESTS = Path(__file__).parent
ROOMS: dict[str, tuple[str, ...]] = {
    "adapting": ("core/test_adapting*", "core/test_shared_pools*", "integrations/*", "programs/*", "sdk_programs/*"),
    "api": ("api/*",),
    "arbiter": (
        "core/test_arbiter*",
        "core/test_price*",
        "core/test_outcomes*",
        "core/test_routing*",
        "fundamentals/test_routing*",
    ),
    "attacks": ("attacks/*",),
    "chains": ("chains/*",),
    "channels": ("channels/*", "attacks/test_attack_channels*"),
    "chaos": ("chaos/*",),
    "cli": ("cli/*", "channels/test_channels_cli*"),
    "client": (
        "core/test_forks*",
        "core/test_preloading*",
        "core/test_lock_*",
        "core/test_remote_contract*",
        "core/test_light_imports*",
        "core/test_tracing*",
        "typing/*",
    ),
    "governor": ("fundamentals/*", "core/test_locks_contract*"),
    "kaizen": ("kaizen/*",),
    "metering": ("metering/*",),
    "observe": ("observe/*",),
    "policy": (
        "core/test_policy*",
        "core/test_false_alarms*",
        "fundamentals/test_rules*",
        "attacks/test_attack_policy*",
        "cli/test_policy*",
    ),
    "project": ("project/*", "test_rooms*", "core/test_leftovers*", "core/test_quiet_zone*"),
    "protocol": (
        "core/test_money*",
        "core/test_argument_hashes*",
        "core/test_masking*",
        "core/test_unicode*",
        "core/test_writing*",
        "core/test_settings*",
        "core/test_nested_json*",
    ),
    "proxy": ("proxy/*",),
    "replay": ("core/test_replay*", "cli/test_replay*"),
    "store": (
        "failures/*",
        "scripts/*",
        "growth/*",
        "core/test_embedded*",
        "core/test_looking*",
        "core/test_topologies*",
    ),
    **{name: (f"integrations/{name}/*",) for name in ("langchain", "langgraph", "crewai", "agentchat")},
    "autogen": ("integrations/autogen_classic/*", "integrations/agentchat/*", "integrations/test_pyautogen*"),
}


def belongs(path: Path, room: str) -> bool:
    """Whether a file of tests is one of a room's."""
    inside = path.relative_to(TESTS).as_posix()
    return any(fnmatchcase(inside, pattern) for pattern in ROOMS[room])
