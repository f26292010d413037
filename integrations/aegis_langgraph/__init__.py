"""Aegis for LangGraph: a node that asks people, a node that runs tools once, and what resumes paused threads."""

from aegis_core.adapting import missing_extra, warn_outside

try:
    from aegis_langgraph.interrupt_node import approval_node
    from aegis_langgraph.resumer import ApprovalResumer
    from aegis_langgraph.tool_node import GovernedToolNode
except ModuleNotFoundError as error:  # pragma: no cover - seen in an environment without the framework
    if (error.name or "").partition(".")[0] not in {"langgraph", "langchain_core"}:
        raise
    raise missing_extra("aegis_langgraph", "langgraph") from error

warn_outside("langgraph", "1.2", "2")

__all__ = ["ApprovalResumer", "GovernedToolNode", "approval_node"]
