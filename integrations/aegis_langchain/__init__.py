"""Aegis for LangChain: a callback that reserves before each call, and blocks what is refused."""

from aegis_core.adapting import missing_extra, warn_outside

try:
    from aegis_langchain.callback import AegisCallbackHandler
except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
    if not (error.name or "").startswith("langchain"):
        raise
    raise missing_extra("aegis_langchain", "langchain") from error

warn_outside("langchain-core", "1.0", "2")

__all__ = ["AegisCallbackHandler"]
