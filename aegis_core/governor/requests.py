"""From a request to the arguments of the one script that decides it."""

from __future__ import annotations

import hmac
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from pydantic import TypeAdapter

from aegis_core.arbiter.arbiter import Appraisal, Candidate
from aegis_core.metering.charges import given_away
from aegis_core.metering.price_book import PriceBook
from aegis_core.policy.asking import Asker
from aegis_core.policy.ruling import Ruling
from aegis_core.policy.text import spaced, words_of
from aegis_core.protocol.arguments import MAX_SHOWN, hash_of
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.errors import InvalidRequestError, UnknownModelError
from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.masking import mask_json, mask_metadata, mask_text
from aegis_core.protocol.messages import LOCK_TYPES, PermissionRequest, SettleRequest, Usage
from aegis_core.protocol.money import to_nanos
from aegis_core.store import arguments
from aegis_core.store.arguments import CandidateRow as Choice
from aegis_core.store.arguments import CounterRow, Limit, WantedLock
from aegis_core.store.ledger import SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.packing import pack, row_list
from aegis_core.store.verbs import Authorize


class PreparedRequest(NamedTuple):
    """One request made ready: what does not depend on the policy in force, so that STALE costs only a second ruling."""

    request: PermissionRequest
    request_id: str
    born: int
    key: str
    trace: bytes
    digest: str
    pepper: bytes

    @classmethod
    def of(cls, request: PermissionRequest, request_id: str, born: int, pepper: bytes = b"") -> PreparedRequest:
        """Mask, fingerprint and name a request. Secrets that a person would be shown are told apart by the `pepper`."""
        words = _masked(request)
        trace = _traced(request, words)
        key = record_id(request.agent_id, request_id)
        return cls(request, request_id, born, key, trace, _digest(trace, request, words, pepper), pepper)

    def order(
        self, caller: SessionProof, rules: Rules, *, latest: bool, forecast: bool = False, inbox: str | None = None
    ) -> Authorize:
        """What ``authorize.lua`` is called with, under the rules that the governor holds."""
        request, ruling, appraisal = self.request, rules.ruling, rules.appraisal
        code, reason = _refused_before(request, appraisal) or (None, ruling.reason)
        askers, content, folded = _questions(request, rules.askers)
        shown = shown_arguments(request.arguments_json, request.arguments_hash, self.pepper) if askers else None
        return Authorize(
            id=self.key, digest=self.digest, policy=rules.policy_version, agent=request.agent_id, sid=caller.session,
            token=caller.token, born=self.born, request_id=self.request_id, priority=request.priority,
            capability=request.capability, resource=request.resource_type, candidates=_candidates(request, appraisal),
            effect=ruling.effect, rule=ruling.rule, reason=reason, code=code, limits=limits_of(ruling),
            trace=self.trace, forecast=_least(request, appraisal) if forecast else None, would=ruling.would_be,
            counters=_counters(ruling), fingerprint=_fingerprint(request) if ruling.counters else None, latest=latest,
            profiles=rules.profiles_version, askers=askers, content=content, words=folded, fence=request.fence,
            target=request.target_resource or "", chosen_for=appraisal.why,
            lock=_lock(request, inbox) if request.resource_type in LOCK_TYPES else None, shown=shown,
            too_long=bool(askers) and request.arguments_json == "",
        )  # fmt: skip


class Rules(NamedTuple):
    """What the rules say of one request, the models that they leave it, and the versions by which the script sees
    whether they are in force."""

    policy_version: int
    profiles_version: int
    ruling: Ruling
    appraisal: Appraisal
    askers: tuple[Asker, ...] = ()


def unasked(request: PermissionRequest, ruling: Ruling, appraisal: Appraisal) -> Appraisal:
    """What is left when answers are rather cut than a person asked: of shorter and shorter ones those from the first on
    that stays within every limit of the rules. All of them, where none does."""
    limits = [each.nanos for each in ruling.limits if not each.observed and each.effect != "observe"]
    if not request.cut_before_asking or not limits or not appraisal.caps:
        return appraisal
    candidates = appraisal.candidates
    first = next((at for at, each in enumerate(candidates) if each.nanos <= min(limits)), 0)
    return appraisal._replace(candidates=candidates[first:], caps=appraisal.caps[-len(candidates[first:]) :])


def _refused_before(request: PermissionRequest, appraisal: Appraisal) -> tuple[str, str] | None:
    """Refusals that are known before Redis is asked; they are recorded there like any other."""
    if request.resource_type in LOCK_TYPES and request.target_resource is None:
        return "target_needed", f"{request.resource_type}: no lock is named"
    if not appraisal.candidates:
        return appraisal.code, appraisal.note
    return None


def _lock(request: PermissionRequest, inbox: str | None) -> WantedLock:
    within = row_list(Lien, [(held.resource, held.lock_token) for held in request.within])
    return WantedLock(int(request.lock_ttl_seconds * 1000), inbox or False, within)


def _candidates(request: PermissionRequest, appraisal: Appraisal) -> Choice:
    """The first candidate, and the others packed, because the script seldom needs them. False, never None: a Lua list
    ends at its first nil, and with it would end the judgement."""
    if not appraisal.candidates:
        return Choice(False, False, 0)
    first, *others = appraisal.candidates
    recommended = appraisal.recommended if request.model else appraisal.checked or first.model
    return Choice(recommended or False, first.model or False, first.nanos, _packed(tuple(others)) if others else False)


@lru_cache(maxsize=1_024)
def _packed(candidates: tuple[Candidate, ...]) -> bytes:
    """Further candidates. With a claim they are the same from request to request."""
    return pack([Choice(each.model or False, each.model or False, each.nanos) for each in candidates])


def _least(request: PermissionRequest, appraisal: Appraisal) -> int | None:
    """The least that a forecast may reserve: the agent's own claim. None where nothing was computed from sizes."""
    if appraisal.priced_by == "claim":
        return None
    return 0 if request.estimated_cost_usd is None else to_nanos(request.estimated_cost_usd)


def limits_of(ruling: Ruling) -> list[object]:
    flat: list[object] = []
    for limit in ruling.limits:
        flat += Limit(limit.nanos, limit.effect, limit.rule, limit.reason, limit.observed)
    return flat


def _counters(ruling: Ruling) -> list[object]:
    flat: list[object] = []
    for counter in ruling.counters:
        flat += CounterRow(
            counter.kind, counter.rule, counter.limit, counter.window_ms, counter.effect, counter.reason,
            counter.observed,
        )  # fmt: skip
    return flat


def _questions(request: PermissionRequest, askers: tuple[Asker, ...]) -> tuple[list[object], str | None, str | None]:
    """Who would ask a person, by what the same question is known again, and the intent as phrases read it."""
    if not askers:
        return [], None, None
    return (
        [item for asker in askers for item in _asker(asker)],
        content_of(request),
        spaced(words_of(request.task_intent)),
    )


def _asker(asker: Asker) -> arguments.AskerRow:
    terms = asker.terms
    return arguments.AskerRow(
        rule=asker.rule, above=asker.above_nanos, counted=asker.counted, quorum=terms.quorum,
        span=int(terms.timeout_seconds * 1000) if terms.timeout_seconds else False,
        approves=terms.on_timeout == "approve", operators=list(terms.operators) if terms.operators else False,
        remind=int(terms.remind_seconds * 1000) if terms.remind_seconds else 0, most=terms.max_open or False,
    )  # fmt: skip


def shown_arguments(text: str | None, bound: str | None, pepper: bytes) -> str | None:
    """What an approver may read of arguments: all of what the hash is of, but for secrets. None where none came.

    Raises:
        InvalidRequestError: the hash is of something else, so nobody would know what is approved; or it is too long.
    """
    if not text:
        return None
    try:
        spelt = text.encode()
        if len(spelt) <= MAX_SHOWN and hash_of(spelt) == bound:
            return mask_json(text, hmac.digest(pepper, b"aegis masked arguments", "sha256"))
    except (ValueError, RecursionError):
        pass
    problem = "must be the RFC 8785 JSON, of at most 64 KiB, that arguments_hash is of"
    raise InvalidRequestError(f"arguments_json: {problem}", field="arguments_json", problem=problem)


def content_of(request: PermissionRequest) -> str:
    """The same for two requests of an agent that a person would take for the same question."""
    said = (
        request.agent_id, request.tool, request.arguments_hash, request.target_resource, request.resource_type,
        " ".join(words_of(request.task_intent)), request.model, str(request.estimated_cost_usd),
    )  # fmt: skip
    return blake2b(pack(said), digest_size=16).hexdigest()


def _fingerprint(request: PermissionRequest) -> str:
    """Eight characters that are the same for the same tool or intent with the same arguments."""
    what = request.tool or " ".join(words_of(request.task_intent))
    text = f"{what}\0{request.arguments_hash}\0{request.target_resource}\0{request.resource_type}"
    return blake2b(text.encode(), digest_size=4).hexdigest()


_TRACED = (
    "resource_type", "priority", "logic_density", "confidence", "target_resource", "capability", "tool",
    "arguments_hash", "model", "task_type", "fence",
)  # fmt: skip


_Words = tuple[str, str | None, dict[str, Scalar]]
"""An intent, how a prompt ends, and metadata."""


def trace_of(request: PermissionRequest) -> bytes:
    """What observers and approvers may see of a request, with secrets masked."""
    return _traced(request, _masked(request))


def _masked(request: PermissionRequest) -> _Words:
    end = request.prompt_end
    return mask_text(request.task_intent), end and mask_text(end), mask_metadata(request.metadata)


def _traced(request: PermissionRequest, words: _Words) -> bytes:
    values = request.__dict__
    trace: dict[str, object] = {"intent": words[0]}
    for name in _TRACED:
        if (value := values[name]) is not None:
            trace[name] = value
    if words[1]:
        trace["prompt_end"] = words[1]
    if words[2]:
        trace["metadata"] = words[2]
    return pack(trace)


def _digest(trace: bytes, request: PermissionRequest, words: _Words, pepper: bytes) -> str:
    """A fingerprint of the content: equal for a retry, different for another request under the same id.

    Also for one that differs in masked words only. They are taken in with the `pepper`, so that nobody who reads the
    fingerprint can try words out.
    """
    rest = [
        None if request.estimated_cost_usd is None else str(request.estimated_cost_usd), request.prompt_bytes,
        request.max_output_tokens, None if request.requirements is None else request.requirements.model_dump_json(),
    ]  # fmt: skip
    if request.min_output_tokens is not None:  # absent, it leaves the fingerprints of earlier versions as they were
        rest.append(request.min_output_tokens)
    if request.cut_before_asking:
        rest.append("cut_before_asking")
    if request.verify is not None:
        rest.append(request.verify)
    if request.allows is not None:
        rest.append(request.allows.model_dump_json())
    if request.prompt_tokens is not None:  # as text, which no other field's number is taken for
        rest.append(f"prompt_tokens={request.prompt_tokens}")
    said = (request.task_intent, request.prompt_end, request.metadata)
    if said != words:  # else the fingerprints of earlier versions stay as they were
        rest.append(hmac.digest(pepper, b"aegis masked words" + pack(said), "sha256").hex())
    return blake2b(trace + pack(rest), digest_size=16).hexdigest()


class Settlement(NamedTuple):
    """What a settlement charges in nano-dollars (None: what was reserved), a fingerprint of its content, and the
    outcome that it counts.

    `answered` is the model whose tokens it reports, by the one name that this has here. `estimated`: nobody knows.
    `capped`: what it comes to above the reservation is not believed.
    """

    cost: int | None
    digest: str
    outcome: float | None
    answered: str | None
    estimated: bool
    capped: bool


def settlement_of(message: SettleRequest, prices: PriceBook) -> Settlement:
    """Read a settlement.

    Raises:
        UnknownModelError, InvalidRequestError: it reports tokens without a known price, and is not `estimated`.
    """
    cost, answered = _cost_of(message, prices)
    outcome = message.outcome
    if outcome is None and message.escalation_usage is not None:
        outcome = 0.0  # the first answer did not pass
    digest = blake2b(_content_of(message), digest_size=16).hexdigest()
    return Settlement(
        cost, digest, outcome, answered, message.estimated or cost is None, capped=message.within_reservation
    )


def _content_of(message: SettleRequest) -> bytes:
    """What two settlements say alike when they are one.

    Later fields that are not given are left out, so that a repeat of an older version's settlement is one, too.
    """
    usd = message.cost_usd
    said: dict[str, object] = {"cost_usd": None if usd is None else float(usd), "usage": _counts_of(message.usage)}
    if message.escalation_usage is not None:
        said["escalation_usage"] = _counts_of(message.escalation_usage)
    if message.outcome is not None:
        said["outcome"] = message.outcome
    said |= {name: True for name in ("estimated", "within_reservation") if getattr(message, name)}
    return _CONTENT.dump_json(said)


def _counts_of(usage: Usage | None) -> dict[str, object] | None:
    """The counts that a usage gives, and the first ones always."""
    return usage and usage.model_dump(
        mode="json", exclude=set(Usage.model_fields) - _FIRST_COUNTS - usage.model_fields_set
    )


def _cost_of(message: SettleRequest, prices: PriceBook) -> tuple[int | None, str | None]:
    """What a settlement says that it cost, None where nobody knows, and the model that answered."""
    if message.usage is None:
        return None if message.cost_usd is None else to_nanos(message.cost_usd, "cost_usd"), None
    used = [usage for usage in (message.usage, message.escalation_usage) if usage]
    answered: str | None = None
    try:
        if prices.knows(message.usage.model):  # else the provider may have stated the cost
            answered = prices.canonical(message.usage.model)
        if any(given_away(prices, usage) for usage in used):
            return None, answered
        return sum(map(prices.price, used)), answered
    except (UnknownModelError, InvalidRequestError):
        if not message.estimated:
            raise
        return None, answered


_CONTENT = TypeAdapter(dict[str, object])
_FIRST_COUNTS = frozenset({"model", "input_tokens", "output_tokens", "cached_input_tokens"})
