"""OpenAI's chat completions and embeddings, and the base of what is shaped like them.

``usage`` is the total of the call: once in an answer, in a stream in the last chunk, whose ``choices`` are empty. Some
servers repeat running totals in every chunk, so the last one counts; counts that do not grow while text arrives are
neither totals nor running totals, and nobody can say what they are.
Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aegis_core.metering.apis.api import Api
from aegis_core.metering.reading import NO_USAGE, Reading, ReceivedText, Tally, build, get, items, text_of, word_of

STANDARD_TIERS = frozenset({"default", "standard", "auto", "on_demand"})
"""Names of what is charged at the list's first price."""


@dataclass(slots=True)
class ChatTotals:
    """One usage block as read: counts by the fields of `Usage`, and the doubts of this block alone."""

    counts: dict[str, Any]
    tally: Tally
    pieces: int
    """Pieces of text that had come before it."""


@dataclass(slots=True)
class ChatMeter:
    """Reads the answer, or the chunks, of one call."""

    received: ReceivedText = field(default_factory=ReceivedText)
    tally: Tally = field(default_factory=Tally)
    blocks: list[ChatTotals] = field(default_factory=list[ChatTotals])
    model: str = ""
    tier: str | None = None
    response_id: str = ""
    searched: bool = False
    finished: bool = False

    def add(self, part: object) -> None:
        """Take in an answer or a chunk."""
        if get(part, "error"):
            self.tally.doubt("the provider broke the answer off with an error")
        self.model = text_of(get(part, "model")) or self.model
        self.tier = word_of(get(part, "service_tier")) or self.tier
        self.response_id = text_of(get(part, "id")) or self.response_id
        for choice in items(get(part, "choices")):
            self._receive(choice)
        usage = self.usage_of(part)
        if usage is not None:
            block = Tally()
            counts = self.counts_of(block, usage)
            self.blocks = [*self.blocks[-1:], ChatTotals(counts, block, self.received.pieces)]
            self._compare()

    def reading(self, model: str | None) -> Reading:
        """What the last block says."""
        name = model or self.model
        if not self.blocks:
            self.tally.doubt(NO_USAGE)
            return Reading(
                None, tuple(self.tally.doubts), self.received.most, self.response_id or None, complete=self.finished
            )
        last = self.blocks[-1]
        tally = Tally([*self.tally.doubts, *last.tally.doubts])
        tier = None if self.tier in STANDARD_TIERS else self.tier
        more = {**self.extras(), **last.counts}
        return build(tally, self.received, name, self.response_id, service_tier=tier, **more)

    def usage_of(self, part: object) -> object:
        """The usage block of a part, where it has one."""
        return get(part, "usage")

    def extras(self) -> dict[str, Any]:
        """What stands outside of the usage block: a search that the answer cites."""
        return {"web_searches": 1} if self.searched else {}

    def counts_of(self, tally: Tally, usage: object) -> dict[str, Any]:
        """The counts of a usage block by the fields of `Usage`."""
        return counted(tally, usage, "prompt", "completion")

    def _receive(self, choice: object) -> None:
        for said in (get(choice, "message"), get(choice, "delta")):
            self.received.text(*(get(said, name) for name in ("content", "refusal", "reasoning_content", "reasoning")))
            for call in items(get(said, "tool_calls")):
                function = get(call, "function")
                self.received.text(get(function, "name"), get(function, "arguments"))
            if any(get(note, "url_citation") for note in items(get(said, "annotations"))):
                self.searched = True
        self.received.text(get(choice, "text"))
        self.finished = self.finished or bool(get(choice, "finish_reason"))

    def _compare(self) -> None:
        """Two blocks of a stream: running totals grow while text arrives, and never fall."""
        if len(self.blocks) < 2:
            return
        before, after = self.blocks
        if not after.counts["input_tokens"] and before.counts["input_tokens"]:
            # The prompt was counted at the start only; whatever was said of it then still holds.
            after.tally.doubts = [each for each in after.tally.doubts if "no input tokens" not in each]
            for name, value in before.counts.items():
                if "input" in name or "cache" in name:
                    after.counts[name] = value
        said, says = before.counts["output_tokens"], after.counts["output_tokens"]
        grew = after.pieces > before.pieces
        if says < said or after.counts["input_tokens"] < before.counts["input_tokens"]:
            self.tally.doubt("the counts fall from chunk to chunk, so they are no running totals")
        elif grew and says == said and said:
            self.tally.doubt("the counts stand still while text arrives, so they are no running totals")


def attribute_rest(tally: Tally, counts: dict[str, Any], total: int) -> None:
    """Compare a total with its parts: what only the total knows is kept, a total below its parts is a doubt."""
    known = counts["input_tokens"] + counts["output_tokens"]
    if total > known:
        counts["unattributed_tokens"] = total - known
    elif 0 < total < known:
        tally.doubt(f"{total:,} tokens in total are fewer than the {known:,} of its parts")


def _recognises(part: object) -> bool:
    return text_of(get(part, "object")).startswith(("chat.completion", "text_completion", "list"))


API = Api(frozenset({"openai", "openai_chat", "azure", "azure_openai"}), ChatMeter, _recognises)


def counted(tally: Tally, usage: object, sent: str, made: str) -> dict[str, Any]:
    """The counts of a usage block of OpenAI's by the fields of `Usage`; its APIs name the two sides differently."""
    inputs, outputs = get(usage, f"{sent}_tokens_details"), get(usage, f"{made}_tokens_details")
    counts: dict[str, Any] = {
        "input_tokens": tally.count(usage, f"{sent}_tokens"),
        "output_tokens": tally.count(usage, f"{made}_tokens"),
        "cached_input_tokens": tally.count(inputs, "cached_tokens"),
        "cache_write_5m_tokens": tally.count(inputs, "cache_write_tokens"),
        "audio_input_tokens": tally.count(inputs, "audio_tokens"),
        "image_input_tokens": tally.count(inputs, "image_tokens"),
        "reasoning_tokens": tally.count(outputs, "reasoning_tokens"),
        "audio_output_tokens": tally.count(outputs, "audio_tokens"),
        "image_output_tokens": tally.count(outputs, "image_tokens"),
    }
    if not counts["input_tokens"]:
        tally.doubt("no input tokens were counted, and none is not what was sent")
    attribute_rest(tally, counts, tally.count(usage, "total_tokens"))
    return counts
