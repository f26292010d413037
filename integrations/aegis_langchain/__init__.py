"""Aegis for LangChain: a callback that blocks, a middleware that also reroutes and pauses, a model that does it all."""

from aegis_core.adapting import missing_extra, warn_outside

try:
    from aegis_langchain.callback import AegisCallbackHandler
    from aegis_langchain.chat_model import GovernedChatModel
except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
    if not (error.name or "").startswith("langchain"):
        raise
    raise missing_extra("aegis_langchain", "langchain") from error

warn_outside("langchain-core", "1.0", "2")

__all__ = ["AegisCallbackHandler", "GovernedChatModel"]
