"""From a request to the arguments of the one script that decides it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from random import getrandbits
from typing import Literal, NamedTuple

from aegis_core.arbiter.arbiter import Appraisal, Candidate
from aegis_core.governor.prompt_evidence import PromptNames, evidence_of
from aegis_core.policy.asking import Asker, AskingTerms
from aegis_core.policy.ruling import Ruling
from aegis_core.policy.text import spaced, words_of
from aegis_core.protocol.arguments import MAX_SHOWN, hash_of
from aegis_core.protocol.canonical import record_id
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.fields import Scalar
from aegis_core.protocol.masking import mask_json, mask_metadata, mask_text
from aegis_core.protocol.messages import LOCK_TYPES, PermissionRequest
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.transactions import TransactionFacts, transaction_of
from aegis_core.store import arguments
from aegis_core.store.arguments import Bid, CounterRow, Limit, Said, WantedLock
from aegis_core.store.arguments import CandidateRow as Choice
from aegis_core.store.ledger import SessionProof
from aegis_core.store.lock_records import Lien
from aegis_core.store.packing import pack, row_list
from aegis_core.store.records import Text
from aegis_core.store.verbs import Authorize
from aegis_core.store.words import NAMES as WORDS
from aegis_core.store.words import said_of


class PreparedRequest(NamedTuple):
    """One request made ready: what does not depend on the policy in force, so that STALE costs only a second ruling."""

    request: PermissionRequest
    request_id: str
    born: int
    key: str
    trace: bytes
    said: Said
    digest: str
    pepper: bytes
    bound: str | None
    spoken: Mapping[str, object]
    attempt: int
    watch: bytes | None = None

    @classmethod
    def of(
        cls,
        request: PermissionRequest,
        request_id: str,
        born: int,
        pepper: bytes = b"",
        http_request_id: str | None = None,
        watch: bytes | None = None,
    ) -> PreparedRequest:
        """Mask, fingerprint and name a request. Secrets that a person would be shown are told apart by the `pepper`."""
        names = PromptNames.of(request, pepper)
        bound = request.arguments_hash or names.prompt  # a call of a model is known again by its prompt
        words = _masked(request)
        facts = _traced(request, words)
        if bound:
            facts["arguments_hash"] = bound
        # The evidence is no part of it; and the dollars of a transaction change with prices while its bytes do not.
        shown = transaction_of(request)
        digest = _digest(pack(facts), request, words, pepper) if shown is None else _digest_of(shown, request)
        spoken = {name: facts.pop(name) for name in WORDS if name in facts}
        if told := evidence_of(request, names, http_request_id):
            facts["evidence"] = told
        said = said_of({name: text for name, text in spoken.items() if name != "prompt_end"})
        key = record_id(request.agent_id, request_id)
        attempt = getrandbits(32) or 1
        return cls(request, request_id, born, key, pack(facts), said, digest, pepper, bound, spoken, attempt, watch)

    def order(
        self, caller: SessionProof, rules: Rules, *, latest: bool, forecast: bool = False, inbox: str | None = None
    ) -> Authorize:
        """What ``authorize.lua`` is called with, under the rules that the governor holds."""
        request, ruling, appraisal = self.request, rules.ruling, rules.appraisal
        code, reason = _refused_before(request, appraisal) or (None, ruling.reason)
        asks = bool(rules.askers) or rules.member
        askers, content, folded = _questions(request, rules.askers, self.bound) if asks else ([], None, None)
        shown = shown_arguments(request.arguments_json, request.arguments_hash, self.pepper) if asks else None
        return Authorize(
            id=self.key, digest=self.digest, policy=rules.policy_version, agent=request.agent_id, sid=caller.session,
            token=caller.token, born=self.born, request_id=self.request_id, priority=request.priority,
            capability=request.capability, resource=request.resource_type, candidates=_candidates(request, appraisal),
            effect=ruling.effect, rule=ruling.rule, reason=reason, code=code, limits=limits_of(ruling),
            trace=self.trace, forecast=_least(request, appraisal) if forecast else None, would=ruling.would_be,
            counters=_counters(ruling), latest=latest,
            fingerprint=_fingerprint(request, self.bound) if ruling.counters else None,
            profiles=rules.profiles_version, askers=askers, content=content, words=folded, fence=request.fence,
            target=request.target_resource or "", chosen_for=appraisal.why,
            lock=_lock(request, inbox) if request.resource_type in LOCK_TYPES else None, shown=shown,
            too_long=asks and request.arguments_json == "", matched=_matched(ruling), basis=rules.basis,
            said=self.said, said_asked=said_of(self.spoken) if asks and "prompt_end" in self.spoken else False,
            task=request.task_type or False, attempt=self.attempt, bid=_bid(request, ruling), watch=self.watch,
            trial=rules.trial,
        )  # fmt: skip


class Rules(NamedTuple):
    """What the rules say of one request, the models that they leave it, and the versions by which the script sees
    whether they are in force. `member`: of a workflow; what is beside its plan asks a person. `trial`: see `Held`."""

    policy_version: int
    profiles_version: int
    ruling: Ruling
    appraisal: Appraisal
    askers: tuple[Asker, ...] = ()
    basis: str = ""
    member: bool = False
    trial: Text = False


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


def _bid(request: PermissionRequest, ruling: Ruling) -> Bid | None:
    """What it pays for gas, and what gas may cost. Without a transaction the chain is nowhere known."""
    shown = transaction_of(request)
    if shown is None and not ruling.ceilings:
        return None
    ceilings: list[object] = []
    for each in ruling.ceilings:
        ceilings += Limit(each.wei, each.effect, each.rule, each.reason, each.observed)
    if shown is None:
        return Bid("", 0, 0, 0, ceilings)
    return Bid(shown.chain, shown.stale_ms, shown.max_fee, shown.priority_fee, ceilings, shown.labels)


def _matched(ruling: Ruling) -> str | None:
    """The rules that matched; one that only observes goes on its own account."""
    names = ruling.matched or tuple(each.rule for each in ruling.observed)
    return "\t".join(names) or None


def _counters(ruling: Ruling) -> list[object]:
    flat: list[object] = []
    for each in ruling.counters:
        flat += CounterRow(each.kind, each.rule, each.limit, each.window_ms, each.effect, each.reason, each.observed)
    return flat


def _questions(
    request: PermissionRequest, askers: tuple[Asker, ...], bound: str | None
) -> tuple[list[object], str, str]:
    """Who would ask a person, by what the same question is known again, and the intent as phrases read it."""
    return (
        [item for asker in askers for item in _asker(asker)],
        content_of(request, bound),
        spaced(words_of(request.task_intent)),
    )


def _asker(asker: Asker) -> arguments.AskerRow:
    terms = asker.terms
    operators, role, groups = deciders_of(terms)
    return arguments.AskerRow(
        rule=asker.rule, above=asker.above_nanos, counted=asker.counted, quorum=terms.quorum,
        span=int(terms.timeout_seconds * 1000) if terms.timeout_seconds else False,
        approves=terms.on_timeout == "approve", operators=operators,
        remind=int(terms.remind_seconds * 1000) if terms.remind_seconds else 0, most=terms.max_open or False,
        role=role, groups=groups,
    )  # fmt: skip


def deciders_of(terms: AskingTerms) -> tuple[list[str] | Literal[False], Text, list[str | int] | Literal[False]]:
    """Who may decide, as scripts read it: persons, a role, and groups of which so many must approve."""
    groups = [value for group in terms.groups or () for value in (group.role, group.quorum)]
    return list(terms.named or ()) or False, terms.approver_role or False, groups or False


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


def content_of(request: PermissionRequest, bound: str | None) -> str:
    """The same for two requests of an agent that a person would take for the same question. `bound`: the hash of its
    arguments, or the name of its prompt."""
    said = (
        request.agent_id, request.tool, bound, request.target_resource, request.resource_type,
        " ".join(words_of(request.task_intent)), request.model, str(request.estimated_cost_usd),
    )  # fmt: skip
    return blake2b(pack(said), digest_size=16).hexdigest()


def _fingerprint(request: PermissionRequest, bound: str | None) -> str:
    """Eight characters that are the same for the same tool or intent with the same arguments."""
    what = request.tool or " ".join(words_of(request.task_intent))
    text = f"{what}\0{bound}\0{request.target_resource}\0{request.resource_type}"
    return blake2b(text.encode(), digest_size=4).hexdigest()


_TRACED = (
    "resource_type", "priority", "logic_density", "confidence", "target_resource", "capability", "tool",
    "arguments_hash", "model", "task_type", "fence",
)  # fmt: skip


_Words = tuple[str, str | None, dict[str, Scalar]]
"""An intent, how a prompt ends, and metadata."""


def edited_trace(request: PermissionRequest, before: Mapping[str, object]) -> bytes:
    """What observers and approvers may see of a request that was changed, with secrets masked.

    Args:
        request: as an operator changed it.
        before: what was kept of it as it was asked. Its evidence is still of the same call.
    """
    facts = _traced(request, _masked(request))
    return pack(facts | {"evidence": told} if (told := before.get("evidence")) else facts)


def _masked(request: PermissionRequest) -> _Words:
    end = request.prompt_end
    return mask_text(request.task_intent), end and mask_text(end), mask_metadata(request.metadata)


def _traced(request: PermissionRequest, words: _Words) -> dict[str, object]:
    values = request.__dict__
    trace: dict[str, object] = {"intent": words[0]}
    for name in _TRACED:
        if (value := values[name]) is not None:
            trace[name] = value
    if words[1]:
        trace["prompt_end"] = words[1]
    if words[2]:
        trace["metadata"] = words[2]
    if (shown := transaction_of(request)) is not None:
        trace["transaction"] = shown.model_dump(mode="json", exclude_none=True)
    return trace


def _digest_of(shown: TransactionFacts, request: PermissionRequest) -> str:
    """The fingerprint of a request about signed bytes: their hash, and who sends them."""
    return blake2b(pack((request.agent_id, shown.chain, shown.hash)), digest_size=16).hexdigest()


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
