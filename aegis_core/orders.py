"""From a request to the arguments of the one script that decides it."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from aegis_core.arbiter.arbiter import Appraisal, Candidate
from aegis_core.arbiter.prices import Prices
from aegis_core.canonical import record_id
from aegis_core.masking import mask_metadata, mask_text
from aegis_core.money import to_nanos
from aegis_core.policy.asking import Asker
from aegis_core.policy.ruling import Ruling
from aegis_core.policy.text import spaced, words
from aegis_core.protocol import LOCK_TYPES, PermissionRequest, SettleRequest
from aegis_core.store.ledger import Caller
from aegis_core.store.packing import pack


class Ask(NamedTuple):
    """One request made ready: what does not depend on the policy in force, so that STALE costs only a second ruling."""

    request: PermissionRequest
    request_id: str
    born: int
    key: str
    trace: bytes
    digest: str

    @classmethod
    def of(cls, request: PermissionRequest, request_id: str, born: int) -> Ask:
        """Mask, fingerprint and name a request."""
        trace = trace_of(request)
        key = record_id(request.agent_id, request_id)
        return cls(request, request_id, born, key, trace, _digest(trace, request))

    def order(
        self, caller: Caller, rules: Rules, *, latest: bool, forecast: bool = False, inbox: str | None = None
    ) -> tuple[Any, ...]:
        """The arguments of ``authorize.lua``, in its order, under the rules that the governor holds."""
        request, ruling, appraisal = self.request, rules.ruling, rules.appraisal
        code, reason = _refused_before(request, appraisal) or (None, ruling.reason)
        askers, content, folded = _questions(request, rules.askers)
        return (
            self.key, self.digest, rules.policy_version, request.agent_id, caller.session, caller.token, self.born,
            self.request_id, request.priority, request.capability, request.resource_type,
            _candidates(request, appraisal), ruling.effect, ruling.rule, reason, code, limits_of(ruling), self.trace,
            _least(request, appraisal) if forecast else None, ruling.would_be, _counters(ruling),
            _fingerprint(request) if ruling.counters else None, latest, rules.profiles_version,
            askers, content, folded, request.fence, request.target_resource or "", appraisal.why,
            _lock(request, inbox) if request.resource_type in LOCK_TYPES else None,
        )  # fmt: skip


class Rules(NamedTuple):
    """What the rules say of one request, the models that they leave it, and the versions by which the script sees
    whether they are in force."""

    policy_version: int
    profiles_version: int
    ruling: Ruling
    appraisal: Appraisal
    askers: tuple[Asker, ...] = ()


def _refused_before(request: PermissionRequest, appraisal: Appraisal) -> tuple[str, str] | None:
    """Refusals that are known before Redis is asked; they are recorded there like any other."""
    if request.resource_type in LOCK_TYPES and request.target_resource is None:
        return "target_needed", f"{request.resource_type}: no lock is named"
    if not appraisal.candidates:
        return appraisal.code, appraisal.note
    return None


def _lock(request: PermissionRequest, inbox: str | None) -> list[Any]:
    """For how long, who is told, and what the caller holds meanwhile."""
    within = [part for held in request.within for part in (held.resource, held.lock_token)]
    return [int(request.lock_ttl_seconds * 1000), inbox or False, within]


def _candidates(request: PermissionRequest, appraisal: Appraisal) -> list[Any]:
    """The first candidate as a triple: the model to recommend, the model whose budget is charged, the amount; and the
    others packed, because the script seldom needs them. False, never None: a Lua list ends at its first nil, and with
    it would end the judgement."""
    if not appraisal.candidates:
        return [False, False, 0]
    first, *others = appraisal.candidates
    recommended = appraisal.recommended if request.model else appraisal.checked or first.model
    triple: list[Any] = [recommended or False, first.model or False, first.nanos]
    if others:
        triple.append(_packed(tuple(others)))
    return triple


@lru_cache(maxsize=1_024)
def _packed(candidates: tuple[Candidate, ...]) -> bytes:
    """Candidates as flat triples. With a claim they are the same from request to request."""
    flat: list[Any] = []
    for candidate in candidates:
        flat += (candidate.model or False, candidate.model or False, candidate.nanos)
    return pack(flat)


def _least(request: PermissionRequest, appraisal: Appraisal) -> int | None:
    """The least that a forecast may reserve: the agent's own claim. None where nothing was computed from sizes."""
    if appraisal.priced_by == "claim":
        return None
    return 0 if request.estimated_cost_usd is None else to_nanos(request.estimated_cost_usd)


def limits_of(ruling: Ruling) -> list[Any]:
    flat: list[Any] = []
    for limit in ruling.limits:
        flat += (limit.nanos, limit.effect, limit.rule, limit.reason, limit.observed)
    return flat


def _counters(ruling: Ruling) -> list[Any]:
    flat: list[Any] = []
    for counter in ruling.counters:
        flat += (
            counter.kind, counter.rule, counter.limit, counter.window_ms, counter.effect, counter.reason,
            counter.observed,
        )  # fmt: skip
    return flat


def _questions(request: PermissionRequest, askers: tuple[Asker, ...]) -> tuple[list[Any], str | None, str | None]:
    """Who would ask a person, by what the same question is known again, and the intent as phrases read it."""
    if not askers:
        return [], None, None
    return (
        [item for asker in askers for item in asker.packed()],
        content_of(request),
        spaced(words(request.task_intent)),
    )


def content_of(request: PermissionRequest) -> str:
    """The same for two requests of an agent that a person would take for the same question."""
    said = (
        request.agent_id, request.tool, request.arguments_hash, request.target_resource, request.resource_type,
        " ".join(words(request.task_intent)), request.model, str(request.estimated_cost_usd),
    )  # fmt: skip
    return blake2b(pack(said), digest_size=16).hexdigest()


def _fingerprint(request: PermissionRequest) -> str:
    """Eight characters that are the same for the same tool or intent with the same arguments."""
    what = request.tool or " ".join(words(request.task_intent))
    text = f"{what}\0{request.arguments_hash}\0{request.target_resource}\0{request.resource_type}"
    return blake2b(text.encode(), digest_size=4).hexdigest()


_TRACED = (
    "resource_type", "priority", "logic_density", "confidence", "target_resource", "capability", "tool",
    "arguments_hash", "model", "task_type", "fence",
)  # fmt: skip


def trace_of(request: PermissionRequest) -> bytes:
    """What observers and approvers may see of a request, with secrets masked."""
    values = request.__dict__
    trace: dict[str, Any] = {"intent": mask_text(request.task_intent)}
    for name in _TRACED:
        if (value := values[name]) is not None:
            trace[name] = value
    if request.metadata:
        trace["metadata"] = mask_metadata(request.metadata)
    return pack(trace)


def _digest(trace: bytes, request: PermissionRequest) -> str:
    """A fingerprint of the content: equal for a retry, different for another request under the same id."""
    rest = [
        None if request.estimated_cost_usd is None else str(request.estimated_cost_usd), request.prompt_bytes,
        request.max_output_tokens, None if request.requirements is None else request.requirements.model_dump_json(),
    ]  # fmt: skip
    if request.min_output_tokens is not None:  # absent, it leaves the fingerprints of earlier versions as they were
        rest.append(request.min_output_tokens)
    if request.verify is not None:
        rest.append(request.verify)
    if request.prompt_tokens is not None:  # as text, which no other field's number is taken for
        rest.append(f"prompt_tokens={request.prompt_tokens}")
    return blake2b(trace + pack(rest), digest_size=16).hexdigest()


class Settlement(NamedTuple):
    """What a settlement charges in nano-dollars, a fingerprint of its content, and the outcome that it counts.

    `answered` is the model whose tokens it reports, by the one name that this has here.
    """

    cost: int
    digest: str
    outcome: float | None
    answered: str | None


def settlement_of(message: SettleRequest, prices: Prices) -> Settlement:
    """Read a settlement.

    Raises:
        UnknownModelError: it reports tokens of a model without a known price.
    """
    if message.usage is not None:
        cost = sum(prices.cost(usage) for usage in (message.usage, message.escalation_usage) if usage)
    else:
        assert message.cost_usd is not None
        cost = to_nanos(message.cost_usd, "cost_usd")
    outcome = message.outcome
    if outcome is None and message.escalation_usage is not None:
        outcome = 0.0  # the first answer did not pass
    # Without later fields that are not given, a repeat of an older version's settlement is one.
    absent = {name for name in ("escalation_usage", "outcome") if getattr(message, name) is None}
    content = message.model_dump_json(exclude={"agent_id"} | absent)
    answered = prices.canonical(message.usage.model) if message.usage else None
    return Settlement(cost, blake2b(content.encode(), digest_size=16).hexdigest(), outcome, answered)
