"""Aegis for AutoGen: the reply hook of classic AutoGen here, `autogen-agentchat` in `aegis_autogen.agentchat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis_autogen.classic import govern_group_chat, register_governor, uninstall, unregister_governor

__all__ = ["govern_group_chat", "register_governor", "uninstall", "unregister_governor"]


def __getattr__(name: str) -> object:
    """Classic AutoGen is loaded only for its own names: who uses agentchat need not have it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aegis_core.adapting import missing_extra

    try:
        from aegis_autogen import classic
    except ImportError as error:  # `autogen` may be absent, or a distribution of that name without ConversableAgent
        if not (error.name or "").startswith("autogen"):
            raise
        raise missing_extra("aegis_autogen", "autogen") from error
    return getattr(classic, name)
