"""Aegis for `autogen-agentchat`: a model client that asks first, and tools that do."""

from aegis_core.adapting import missing_extra, warn_outside

try:
    from aegis_autogen.agentchat.client import GovernedChatCompletionClient
    from aegis_autogen.agentchat.tools import govern_tools
except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
    if not (error.name or "").startswith("autogen"):
        raise
    raise missing_extra("aegis_autogen.agentchat", "agentchat") from error

warn_outside("autogen-core", "0.7", "0.8")

__all__ = ["GovernedChatCompletionClient", "govern_tools"]
