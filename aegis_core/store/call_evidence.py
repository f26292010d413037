"""What events keep of calls for those who look at them later: of their requests, and of how they ended."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from aegis_core.store.records import Text

COUNTS_OF_USAGE = (
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "reasoning_tokens", "audio_input_tokens", "image_input_tokens", "video_input_tokens", "cached_audio_tokens",
    "cached_image_tokens", "audio_output_tokens", "image_output_tokens", "unattributed_tokens", "web_searches",
    "file_searches", "code_sessions", "map_searches",
)  # fmt: skip
"""The order in which the counts of a usage are stored. It only grows."""


class CallFacts(NamedTuple):
    """What the event of a settlement says of the call: which model answered, the counts of its usage, how well it was
    done, the class of the error it ended in, which attempt it was, of which request, how long the provider took (ms),
    and the model of a second call."""

    model: Text
    counts: list[int]
    outcome: float | Literal[False]
    error: Text
    attempt: int
    parent: Text
    latency: int | Literal[False]
    escalation: Text


class Evidence(NamedTuple):
    """What a request said for those who look at it afterwards. Hashes are keyed; later fields may be missing."""

    prompt_tokens: int | Literal[False] = False
    prompt_bytes: int | Literal[False] = False
    max_output_tokens: int | Literal[False] = False
    requirements: dict[str, Any] | Literal[False] = False
    temperature: float | Literal[False] = False
    prompt_hash: Text = False
    prefix_hash: Text = False
    traceparent: Text = False
    experiment_arm: Text = False
    propensity: float | Literal[False] = False
    http_request_id: Text = False
