"""OpenAI's Responses: ``usage`` is the total of the call; hosted tools are counted from the items of ``output``.

A stream ends with ``response.completed``, ``response.incomplete`` or ``response.failed``, each with the whole response.
Sources: https://platform.openai.com/docs/api-reference/responses, https://platform.openai.com/docs/pricing
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aegis_core.metering.apis.api import Api
from aegis_core.metering.apis.openai_chat import STANDARD_TIERS, counted
from aegis_core.metering.reading import NO_USAGE, Reading, ReceivedText, Tally, build, get, items, text_of, word_of

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_DELTAS = frozenset(
    {
        "response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta", "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta", "response.mcp_call_arguments.delta",
    }
)  # fmt: skip
_FREE = frozenset(
    {
        "function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call", "mcp_call",
        "tool_search_call",
    }
)  # fmt: skip
"""Calls that the caller runs, or that cost nothing but the tokens of their results."""


@dataclass(slots=True)
class ResponsesMeter:
    """Reads the response, or the events, of one call."""

    received: ReceivedText = field(default_factory=ReceivedText)
    tally: Tally = field(default_factory=Tally)
    response: object = None
    ended: bool = False
    model: str = ""
    response_id: str = ""

    def add(self, part: object) -> None:
        """Take in a response or an event."""
        kind = text_of(get(part, "type"))
        if kind in _DELTAS:
            self.received.text(get(part, "delta"))
            return
        if kind == "error" or (not kind and get(part, "error")):
            self.tally.doubt("the provider broke the answer off with an error")
        response = get(part, "response") if kind.startswith("response.") else part
        self.model = text_of(get(response, "model")) or self.model
        self.response_id = text_of(get(response, "id")) or self.response_id
        whole = kind in _ENDS if kind else get(response, "status") not in {"in_progress", "queued"}
        if whole and response is not None:
            self.response, self.ended = response, True

    def reading(self, model: str | None) -> Reading:
        """What the whole response says."""
        usage = get(self.response, "usage")
        name = model or self.model
        tally = Tally([*self.tally.doubts])
        if usage is None:
            tally.doubt(NO_USAGE if self.ended else "the stream ended before its usage")
            return Reading(None, tuple(tally.doubts), self.received.most, self.response_id or None)
        counts = counted(tally, usage, "input", "output")
        counts.update(_hosted(tally, self.response))
        tier = word_of(get(self.response, "service_tier"))
        received = self.received if self.received.pieces else _text_of_output(self.response)
        tier = None if tier in STANDARD_TIERS else tier
        return build(tally, received, name, self.response_id, service_tier=tier, **counts)


def _hosted(tally: Tally, response: object) -> dict[str, int]:
    """Calls of hosted tools that are charged one by one."""
    searches = files = 0
    containers: set[str] = set()
    for item in items(get(response, "output")):
        kind = text_of(get(item, "type"))
        if kind == "web_search_call":
            # Opening a page and looking within it are free; an older item does not say what it did.
            searches += text_of(get(get(item, "action"), "type")) in {"search", ""}
        elif kind == "file_search_call":
            files += 1
        elif kind == "code_interpreter_call":
            containers.add(text_of(get(item, "container_id")))
        elif kind.endswith("_call") and kind not in _FREE:
            tally.doubt(f"{kind} is a hosted tool whose fee is not known")
    return {"web_searches": searches, "file_searches": files, "code_sessions": len(containers)}


def _text_of_output(response: object) -> ReceivedText:
    received = ReceivedText()
    for item in items(get(response, "output")):
        received.text(get(item, "arguments"))
        for piece in items(get(item, "content")):
            received.text(get(piece, "text"), get(piece, "refusal"))
    return received


def _recognises(part: object) -> bool:
    if get(part, "object") == "response" or text_of(get(part, "type")).startswith("response."):
        return True
    return isinstance(get(part, "output"), list) and get(get(part, "usage"), "input_tokens") is not None


API = Api(frozenset({"openai", "openai_responses", "azure", "azure_openai"}), ResponsesMeter, _recognises)
