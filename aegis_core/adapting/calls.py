"""What an adapter says of one call: of a model, or of a tool; and the words by which an approver recognises it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.canonical import canonical_json, digest, storable
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.money import UsdLike

_SHOWN = 240
"""Characters of an intent."""
_SHOWN_ARGUMENTS = 120


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call of a chat model.

    Attributes:
        messages: in the shape of OpenAI: ``role``, ``content`` (text or parts), ``tool_calls``, ``tool_call_id``.
        tools: tool definitions as JSON-compatible values.
        model: the model that will be called, where the adapter cannot choose.
        models: names among which Aegis may choose, instead of `model`.
        max_output_tokens: the cap that the caller declared, of one answer.
        answers: how many answers are asked for at once (``n``); each may be as long as the cap.
        lowers_cap: whether the adapter sends the cap that the reservation says; else the declared one is reserved.
        thread: the conversation, where the framework names it.
    """

    messages: Sequence[Mapping[str, object]]
    tools: Sequence[object] = ()
    model: str | None = None
    models: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    lowers_cap: bool = False
    thread: str | None = None
    answers: int = 1

    @property
    def name(self) -> str:
        """How a refusal calls it."""
        return "this call of the model" if not self.model else f"this call of {self.model}"

    @property
    def intent(self) -> str:
        """The last user message, shortened, with secrets masked."""
        for message in reversed(self.messages):
            if message.get("role") in {"user", "human"} and (text := _text(message.get("content"))):
                return _short(mask_text(text[: 4 * _SHOWN]), _SHOWN)
        return "Continue the conversation"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool.

    Attributes:
        tool: the tool's name.
        arguments: a mapping, or its JSON text.
        call_id: the framework's id; ids repeat with other content, so it alone names nothing.
        message_id: the id of the AI message that asked for it, or its `conversation_digest`.
        thread: the conversation. Without a call id the call is new each time it is described.
        cost_usd: what it costs at most; default: what `CallGovernor` was told of the tool.
        attempt: how often the same call was asked for again, because a grant for it was given back or ran out unused.
    """

    tool: str
    arguments: Any = None
    call_id: str | None = None
    message_id: str | None = None
    thread: str | None = None
    cost_usd: UsdLike | None = None
    attempt: int = 0

    @property
    def name(self) -> str:
        """How a refusal calls it: ``pay(amount=7)``."""
        return f"{self.tool}({_short(mask_text(_spelt(self.arguments)), _SHOWN_ARGUMENTS)})"

    @property
    def intent(self) -> str:
        """The call, shortened, with secrets masked."""
        return f"Call the tool {_short(f'{self.tool}({mask_text(_spelt(self.arguments))})', _SHOWN)}"

    @property
    def arguments_hash(self) -> str:
        """Equal for equal arguments."""
        return hash_arguments(self.arguments)

    def identity(self, tenant: str) -> str | None:
        """The name of this very call, the same in every process: tenant, thread, message, call id and arguments."""
        if self.call_id is None:
            return None
        parts = (tenant, self.thread or "", self.message_id or "", self.call_id, self.tool, self.arguments_hash)
        return "call_" + digest(*parts, *((str(self.attempt),) if self.attempt else ()))


def answers_in(*said: object) -> int:
    """How many answers the settings of a call ask for: the most of those that are whole numbers, else one."""
    return max([1, *(each for each in said if isinstance(each, int))])


def conversation_digest(messages: Sequence[Mapping[str, object]]) -> str:
    """A name for an AI message in frameworks that give it none: the hash of the conversation up to and with it."""
    return digest(*(canonical_json(message) for message in messages))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list | tuple):
        texts = [_text_of(part) for part in cast("list[object]", content)]
        return " ".join(filter(None, texts)).strip()
    return ""


def _text_of(part: object) -> str:
    text = cast("Mapping[str, object]", part).get("text") if isinstance(part, Mapping) else part
    return text if isinstance(text, str) else ""


def _spelt(arguments: object) -> str:
    if arguments is None:
        return ""
    if isinstance(arguments, Mapping):
        pairs = cast("Mapping[object, object]", arguments).items()
        return ", ".join(f"{name}={canonical_json(value)}" for name, value in pairs)
    return arguments if isinstance(arguments, str) else canonical_json(arguments)


def _short(text: str, most: int) -> str:
    text = " ".join(storable(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
