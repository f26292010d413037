"""The fields of messages as keyword arguments, so that editors and type checkers know them where a program asks.

Each class here mirrors a message: the same names, with the types that a caller may write (an amount of dollars also as
number or text). A test compares the two. Unpacked in a signature, they cost nothing when a program runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.locks import LockMode, Preemption
from aegis_core.protocol.messages import HeldLock, Requirements, ResourceType, Usage
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.usage import Allowance


class RequestFields(TypedDict, total=False):
    """What a request may say beside its intent: the fields of `PermissionRequest`, and `arguments`.

    Keep several in a dictionary of this type to ask for the same twice: ``wish: RequestFields = {…}``, then
    ``request(intent, **wish)``, or with a difference ``request(intent, **wish | {"priority": 9})``.
    """

    resource_type: ResourceType
    """What the agent wants to consume; default: ``llm_tokens``."""
    estimated_cost_usd: UsdLike | None
    """What it will cost at most, in dollars. Beside sizes, from which Aegis estimates, the higher counts."""
    priority: int
    """1 to 10, default 5."""
    logic_density: int
    """How hard the work is, 1 to 10, default 5: it chooses the tier of the model."""
    confidence: float | None
    """How sure the agent is, 0 to 1."""
    target_resource: str | None
    """What is acted on. For ``wallet_lock`` and ``file_lock`` the lock to take in the same step."""
    fence: int | None
    """Refuse unless the agent holds the lock called `target_resource` with this fence."""
    lock_ttl_seconds: float
    """How long that lock lasts unless it is renewed, default 30."""
    within: Sequence[HeldLock]
    """The leases held meanwhile; default: those of the blocks around the running code."""
    request_id: str | None
    """Names the request, so that asking again answers the same verdict instead of reserving twice."""
    capability: str | None
    """The capability that it uses, for rules that require one."""
    tool: str | None
    """The tool that will be called."""
    arguments: object
    """The values that `tool` will be called with: their hash is sent, and their JSON for a person who may be asked."""
    arguments_hash: str | None
    """That hash, where it was made before; `arguments` takes its place."""
    arguments_json: str | None
    """That JSON, where it was made before; it must be what the hash is of."""
    model: str | None
    """The model that will be called; without it the grant is priced for the recommended one."""
    prompt_bytes: int | None
    """The size of the prompt in bytes of UTF-8."""
    prompt_tokens: int | None
    """The size of the prompt in tokens, the most that the caller counts. Either this or `prompt_bytes`."""
    max_output_tokens: int | None
    """The cap on the answer that the agent will send."""
    min_output_tokens: int | None
    """Down to how much the answer may be cut to what is affordable."""
    cut_before_asking: bool
    """Cut it that far, too, to what no rule asks a person about or denies for its cost."""
    task_type: str | None
    """The kind of task, by which outcomes are learned."""
    verify: Literal["cheap_first"] | None
    """The agent checks the answer of a cheap model first; the cost of both calls is reserved."""
    requirements: Requirements | None
    """What a model must be able to do to be recommended."""
    allows: Allowance | None
    """What the call may consume beside plain text: media, hosted tools, a tier, a cache."""
    prompt_end: str | None
    """How the prompt of a model call ends, at most 500 characters: for people who are asked, never for rules."""
    traceparent: str | None
    """The W3C trace that the call belongs to; the event of the decision names it."""
    prompt_hash: str | None
    """Names the prompt without its words, in 16 to 64 hexadecimal digits, for those who look for repeated calls."""
    prefix_hash: str | None
    """The same of the part of the prompt that a provider could cache."""
    prompt_size_bytes: int | None
    """The size of the prompt in bytes, where `prompt_tokens` say what is reserved for it."""
    temperature: float | None
    """The temperature that the model will be called with."""
    experiment_arm: str | None
    """The arm of an experiment that the call was given to."""
    propensity: float | None
    """With what probability it was given to that arm, above 0 and at most 1."""
    metadata: dict[str, Scalar]
    """References that observers see beside the request, never contents."""


class LockFields(TypedDict, total=False):
    """What `lock` and `lock_all` may say beside names, times and token: the other fields of `AcquireLock`."""

    priority: int | None
    """1 to 10: who waits with a higher one comes first. Default: the agent's own."""
    permits: int | None
    """How many may hold it, for the first one to say; default 1."""
    weight: int
    """How many permits are taken, default 1."""
    mode: LockMode
    """``exclusive`` (the default) or ``shared``."""
    preemption: Preemption | None
    """Whether a waiter with a higher priority may have it given up, for the first one to say."""
    grace_seconds: float | None
    """How long a holder that is told to give it up may still keep it."""
    within: Sequence[HeldLock]
    """The leases held meanwhile; default: those of the blocks around the running code."""


class CallEvidence(TypedDict, total=False):
    """How a call went, for those who look at it afterwards: the fields of `SettlementEvidence`."""

    error_class: str | None
    """The class of the error that the call ended in."""
    attempt: int | None
    """Which attempt it was, from 1."""
    parent_request_id: str | None
    """Of which request it was an attempt."""
    latency_ms: int | None
    """How long the provider took, in milliseconds."""


class SettleFields(CallEvidence, total=False):
    """What `settle` takes: one of dollars, usage and a provider's answer, or `estimated` where nobody knows.

    `response`, `provider` and `request` are read where the program runs; the others are the fields of `SettleRequest`.
    """

    cost_usd: UsdLike | None
    """Dollars for all calls."""
    usage: Usage | None
    """Tokens of the call, to be priced."""
    escalation_usage: Usage | None
    """Tokens of the second call, where the answer of the first did not pass."""
    outcome: float | None
    """How well the task was done, 0 to 1; the choice of models learns from it."""
    estimated: bool
    """Nobody knows what it cost: alone it charges what was reserved; beside an amount it marks that as reckoned."""
    response: object
    """What the provider answered: an object of its SDK, a dictionary, JSON, or all chunks of a stream. It is charged
    exactly where it says what was consumed, else what was reserved is, marked as estimated."""
    provider: str | None
    """Whose answer that is, where its shape does not tell: ``openai``, ``anthropic``, ``gemini``, ``bedrock``, …"""
    request: Mapping[str, Any] | None
    """The body as it was sent: counts in the answer that it does not allow are not believed. Without it the sizes that
    were asked with are looked at: counts above them are not believed beyond the whole reservation."""
