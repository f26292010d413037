"""What came of an answer: whole, or chunk by chunk."""

from __future__ import annotations

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult

from aegis_langchain.shapes import usage_counts, usage_of


class Heard:
    """What came of a stream so far."""

    def __init__(self) -> None:
        self.begun = False
        self._input = self._output = self._cached = 0
        self._counted = False

    def add(self, chunk: ChatGenerationChunk) -> None:
        """Count in one more chunk."""
        self.begun = True
        usage = getattr(chunk.message, "usage_metadata", None)
        if usage:
            self._counted = True
            counts = usage_counts(usage)
            self._input += counts["input_tokens"]
            self._output += counts["output_tokens"]
            self._cached += counts["cached_input_tokens"]

    def whole(self, result: ChatResult) -> ChatGenerationChunk:
        """The answer of a model that does not stream, as the one chunk of a stream."""
        (generation, *_) = result.generations
        values = generation.message.model_dump(exclude={"type"})
        chunk = ChatGenerationChunk(message=AIMessageChunk(**values), generation_info=generation.generation_info)
        self.add(chunk)
        return chunk

    @property
    def counts(self) -> dict[str, int]:
        """As the keywords of `Reservation.settle`; empty where the provider counted nothing."""
        if not self._counted:
            return {}
        return {"input_tokens": self._input, "output_tokens": self._output, "cached_input_tokens": self._cached}


def counts_of(result: ChatResult) -> dict[str, int]:
    """The counts of a whole answer, as the keywords of `Reservation.settle`."""
    usage = usage_of(LLMResult(generations=[list(result.generations)], llm_output=result.llm_output))
    return usage_counts(usage) if usage else {}


def streams(model: BaseChatModel) -> bool:
    """Whether a model has a stream of its own."""
    kind = type(model)
    own = (kind._stream, kind._astream)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return own != (BaseChatModel._stream, BaseChatModel._astream)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
