"""Final refusals on their way from a tool to the model client that ends the run.

AutoGen turns what a tool raises into the tool's answer, and waits for ever for a tool that raises more than an
exception. So the run ends at its next model call: the one whose newest message carries that very answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from autogen_core.models import FunctionExecutionResultMessage, LLMMessage

from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.process import new_lock

_MOST = 1_024

_finals: OrderedDict[tuple[str, str], AegisDenied] = OrderedDict()
_lock = new_lock()


def remember(denied: AegisDenied, call_id: str | None) -> None:
    """Keep a final refusal for the next model call."""
    with _lock:
        _finals[call_id or "", str(denied)] = denied
        while len(_finals) > _MOST:
            _finals.popitem(last=False)


def raise_if_stopped(messages: Sequence[LLMMessage]) -> None:
    """Raise the final refusal that the newest message tells of."""
    newest = messages[-1] if messages else None
    if not isinstance(newest, FunctionExecutionResultMessage):
        return
    with _lock:
        for result in newest.content:
            if (denied := _finals.pop((result.call_id, result.content), None)) is not None:
                raise denied
