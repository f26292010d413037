"""A described call as the fields of a request."""

from __future__ import annotations

import re

from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.adapting.caps import thinking_budget
from aegis_core.adapting.costs import check_bounded
from aegis_core.adapting.estimate import Estimate
from aegis_core.adapting.request_settings import temperature_in
from aegis_core.metering.allowed import allowance_of
from aegis_core.protocol.canonical import storable
from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.keywords import RequestFields
from aegis_core.protocol.messages import Requirements
from aegis_core.protocol.money import UsdLike
from aegis_core.protocol.usage import ORDINARY

LEAST_OUTPUT = 16
"""Tokens of an answer below which a call is refused rather than cut."""


def model_fields(call: ModelCall, estimate: Estimate, cap: int | None, framework: str) -> RequestFields:
    """Those of a call of a model, of whose answer `cap` tokens are reserved; None: as many as the model can give.

    Raises:
        ConfigurationError: several answers are asked for and none is bounded.
    """
    check_bounded(call, cap)
    fields: RequestFields = {
        "prompt_tokens": estimate.tokens,
        "max_output_tokens": None if cap is None else cap * call.answers,
        "metadata": _metadata(framework, call.thread),
        "prompt_end": call.prompt_end,
        **evidence_of(estimate),
        "temperature": temperature_in(call.settings),
    }
    if (allows := allowance_of(estimate.bound)) != ORDINARY:
        fields["allows"] = allows
    if call.models:
        fields["requirements"] = Requirements(tools=bool(call.tools), models=call.models, or_strongest=True)
    else:
        fields["model"] = call.model
    if call.lowers_cap:
        least = LEAST_OUTPUT + thinking_budget(call.settings)
        fields["min_output_tokens"] = min(least, cap or least) * call.answers
    return fields


def evidence_of(estimate: Estimate) -> RequestFields:
    """What a call says of its prompt without its words; the governor keeps the hashes under a key of its own."""
    return {
        "prompt_hash": estimate.content or None, "prefix_hash": estimate.prefix, "prompt_size_bytes": estimate.size,
    }  # fmt: skip


def tool_fields(call: ToolCall, cost_usd: UsdLike, tenant: str, framework: str) -> RequestFields:
    """Those of a call of a tool that costs so much."""
    fields: RequestFields = {
        "resource_type": "api_call",
        "estimated_cost_usd": cost_usd,
        "tool": tool_identifier(call.tool),
        "arguments": call.arguments,
        "metadata": _metadata(framework, call.thread),
    }
    if identity := call.identity(tenant):
        fields["request_id"] = identity
    return fields


def tool_identifier(name: str) -> str:
    """A tool's name in the alphabet of identifiers, as rules match it: ``Search the web`` is ``Search_the_web``."""
    return re.sub(r"[^\w.:@/-]+", "_", name)[:128] or "tool"


def _metadata(framework: str, thread: str | None) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"framework": framework}
    if thread:
        found["thread"] = storable(thread)[:256]
    return found
