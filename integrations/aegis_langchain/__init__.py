"""Aegis for LangChain: a callback that blocks, a middleware that also reroutes and pauses, a model that does it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_core.adapting import missing_extra, warn_outside

try:
    from aegis_langchain.callback import AegisCallbackHandler
except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
    if not (error.name or "").startswith("langchain"):
        raise
    raise missing_extra("aegis_langchain", "langchain") from error

if TYPE_CHECKING:
    from aegis_langchain.chat_model import GovernedChatModel
    from aegis_langchain.middleware import AegisMiddleware

warn_outside("langchain-core", "1.0", "2")

__all__ = ["AegisCallbackHandler", "AegisMiddleware", "GovernedChatModel"]


def __getattr__(name: str) -> object:
    """The callback needs langchain-core alone; the middleware brings LangGraph, so it is loaded when it is used."""
    if name == "GovernedChatModel":
        from aegis_langchain.chat_model import GovernedChatModel

        return GovernedChatModel
    if name == "AegisMiddleware":
        try:
            from aegis_langchain.middleware import AegisMiddleware
        except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
            if (error.name or "").partition(".")[0] not in {"langchain", "langgraph"}:
                raise
            raise missing_extra("aegis_langchain.AegisMiddleware", "langchain") from error
        warn_outside("langchain", "1.0", "2")
        return AegisMiddleware
    raise AttributeError(name)
