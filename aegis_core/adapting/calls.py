"""What an adapter says of one call: of a model, or of a tool; and the words by which an approver recognises it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aegis_core.protocol.arguments import hash_arguments
from aegis_core.protocol.canonical import canonical_json, digest, storable
from aegis_core.protocol.fields import MAX_INTENT
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.parsing import loads

_SHOWN = 240
"""Characters of the end of a prompt."""
_MASKED = 8_000
"""Characters of it in which secrets are looked for, so that none is cut in two before it is known for one."""
_SHOWN_ARGUMENTS = 120
_DEEPEST = 16
"""Levels of arguments that are read as text; what lies deeper is read as JSON."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A call of a chat model.

    Attributes:
        messages: in the shape of OpenAI: ``role``, ``content`` (text or parts), ``tool_calls``, ``tool_call_id``.
        tools: tool definitions as JSON-compatible values.
        model: the model that will be called, where the adapter cannot choose.
        models: names among which Aegis may choose, instead of `model`.
        max_output_tokens: the cap that the caller declared, of one answer.
        intent: what the call is for, as the program declares it; default: what its `CallGovernor` was told.
        answers: how many answers are asked for at once (``n``); each may be as long as the cap.
        lowers_cap: whether the adapter sends the cap that the reservation says; else the declared one is reserved.
        thread: the conversation, where the framework names it.
        settings: what else the request says to the provider, by the provider's names: a schema for the answer, a tier,
            modalities, the response that it continues. Each counts in what is reserved.
    """

    messages: Sequence[Mapping[str, object]]
    tools: Sequence[object] = ()
    model: str | None = None
    models: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    lowers_cap: bool = False
    thread: str | None = None
    answers: int = 1
    intent: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def name(self) -> str:
        """How a refusal calls it."""
        return "this call of the model" if not self.model else f"this call of {self.model}"

    @property
    def prompt_end(self) -> str | None:
        """The end of the last message that has a text, with secrets masked: for people, not for rules."""
        for message in reversed(self.messages):
            if text := _text(message.get("content")):
                end = " ".join(storable(mask_text(text[-_MASKED:])).split())
                return end if len(end) <= _SHOWN else "…" + end[1 - _SHOWN :]
        return None


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
        """The call with its arguments, with secrets masked. Of what is longer than an intent the middle is left out."""
        text = f"Call the tool {self.tool}({' '.join(storable(mask_text(_read(self.arguments))).split())})"
        half = MAX_INTENT // 2 - 1
        return text if len(text) <= MAX_INTENT else f"{text[:half]}…{text[-half:]}"

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


def _read(arguments: object) -> str:
    """The arguments as the tool reads them: escapes of JSON would hide a word that begins after a line break."""
    if isinstance(arguments, str):
        try:
            parsed: object = loads(arguments)
        except (ValueError, RecursionError):
            return arguments
        arguments = cast("object", parsed) if isinstance(parsed, dict | list) else arguments
    return "" if arguments is None else _plainly(arguments, _DEEPEST)


def _plainly(value: object, deeper: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and deeper:
        pairs = cast("Mapping[object, object]", value).items()
        return ", ".join(f"{name}={_plainly(item, deeper - 1)}" for name, item in pairs)
    if isinstance(value, list | tuple) and deeper:
        return ", ".join(_plainly(item, deeper - 1) for item in cast("list[object]", value))
    return canonical_json(cast("object", value))


def _short(text: str, most: int) -> str:
    text = " ".join(storable(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
