"""Every kind of event and every fact, declared: ``docs/events.md`` is made of it, and tests hold scripts against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aegis_core.governor.event_facts import FACTS


class KindOf(NamedTuple):
    """What a kind of event tells, and which facts it may have."""

    tells: str
    facts: str


_DECISION = (
    "grant_id request_id session_id created_at code resource_type policy_version policy_digest profiles_version "
    "price_version amount_usd charged_usd estimated late model recommended_model rule rules reason stopped_by would_be "
    "envelope_id deadline credential budgets routing request traceparent quorum votes decided_by decision_reason "
    "edited withdrawn_by shown_at http_request_id words_gone task_type labels lock workflow_id plan_step approval_id"
)
_CALL = " answered_by usage outcome error_class attempt parent_request_id latency_ms escalation_model"
_CALL_FAILED = " error_class attempt parent_request_id latency_ms"
_BUDGET = "owner session_id window limit_usd "
_PERSON = "person role groups limit_usd by"
_LOCK = "resource fence priority waited_seconds held_seconds because_of"
_FLOW = "workflow_id name planned_usd by "
_ENVELOPE = "envelope_id session_id tool rule phrase resource_type limit_usd used_usd uses expires_at reason by"

KINDS: Mapping[str, KindOf] = {
    "granted": KindOf("A request was granted; `code` is `approved` where a person had been asked.", _DECISION),
    "pending": KindOf("A request waits, for a person or for its lock.", _DECISION),
    "rejected": KindOf("A request was refused; `stopped_by` names the rule, budget or ceiling.", _DECISION),
    "refusals_repeated": KindOf(
        "More refusals like one that left its event, counted together.",
        "count since until code policy_version rule resource_type owner window session_id model tool target_resource "
        "capability most_usd words_gone",
    ),
    "requests_limited": KindOf(
        "An agent, or all agents of a credential, asked more often than a second may have; what follows in that second "
        "is refused without an event.",
        "per_second credential",
    ),
    "settled": KindOf("A grant ended with what was really spent.", _DECISION + _CALL),
    "overrun": KindOf("A grant ended with more than was reserved.", _DECISION + _CALL),
    "released": KindOf("A grant or question ended with nothing spent.", _DECISION + _CALL_FAILED),
    "extended": KindOf("The deadline of a grant was moved.", _DECISION),
    "expired": KindOf(
        "A grant was not ended by its deadline, and was charged whole; `nothing_heard`: since it was granted.",
        _DECISION + " nothing_heard",
    ),
    "refunded": KindOf(
        "An operator took back some of a charge, or a chain gave back more than a transaction took.",
        "grant_id request_id refund_usd charged_usd refunded_usd reason by",
    ),
    "approved": KindOf("A question was approved, so its grant is live.", _DECISION),
    "declined": KindOf("A question was rejected by a person.", _DECISION),
    "timed_out": KindOf("A question was not answered in time.", _DECISION),
    "voted": KindOf("An operator said a word on a question that needs more of them.", _DECISION),
    "handshake": KindOf(
        "An agent opened a session.", "session_id framework max_priority capabilities session_budget_usd workflow_id"
    ),
    "handshake_refused": KindOf(
        "A session was not opened. Of equal refusals of an hour the first, tenth, hundredth … are told.",
        "code credential count",
    ),
    "login_failed": KindOf(
        "A credential did not hold; the first, tenth, hundredth … of an hour from an address.", "code address count"
    ),
    "session_closed": KindOf("A session ended, because it was idle or one too many.", "session_id"),
    "budget_crossed": KindOf("80 or 100 % of a limit are spent.", _BUDGET + "committed_usd spent_usd percent"),
    "budget_reserved": KindOf(
        "80 or 100 % of a limit are spent or reserved.", _BUDGET + "committed_usd spent_usd percent"
    ),
    "budget_forecast": KindOf(
        "At the pace of the last hour a budget is used up before its window ends.",
        _BUDGET + "spent_usd last_hour_usd gone_at",
    ),
    "budget_set": KindOf("A limit was set.", _BUDGET + "before_usd by"),
    "budget_ahead": KindOf(
        "A clock was ahead, so a budget counts in a window to come, until `resets_at` or `aegis budget reset`.",
        _BUDGET + "committed_usd spent_usd resets_at",
    ),
    "loss_accepted": KindOf(
        "Redis had lost agents, budgets or the whole tenant, and an operator let them begin anew.",
        "agents_lost budgets_lost whole by",
    ),
    "budget_reset": KindOf("A budget began anew.", _BUDGET + "spent_usd held_usd resets_at by"),
    "estimates_high": KindOf(
        "Much of what an agent was charged in an hour is estimated.", "charged_usd estimated_usd percent"
    ),
    **{
        f"lock_{name}": KindOf(tells, _LOCK)
        for name, tells in {
            "acquired": "A lock was taken.",
            "waiting": "Somebody waits in the queue of a lock.",
            "released": "A lock was given back.",
            "cancelled": "Somebody left the queue.",
            "preempting": "A holder was told to go, because somebody of higher priority waits.",
            "evicted": "A holder that had been told to go lost the lock.",
            "expired": "A lease ended because it was not renewed.",
            "unclaimed": "A lock was handed to somebody who did not come for it.",
            "abandoned": "Somebody who waited is gone.",
            "forced": "An operator took a lock from its holder.",
            "wounded": "Somebody left a queue, because a cycle of waits would have closed.",
        }.items()
    },
    "thread_failed": KindOf("A conversation cannot go on.", "thread problem words_gone"),
    "outcome_unknown": KindOf(
        "A call was started earlier and nobody knows whether it was carried out, so it is not run again.",
        "call started_at",
    ),
    "agent_blocked": KindOf("An agent was blocked.", "by"),
    "agent_active": KindOf("An agent may go on.", "by"),
    "agent_forgotten": KindOf("What an agent wrote was removed; its events stay.", "removed by"),
    "tenant_halted": KindOf("All agents of the tenant were halted.", "by"),
    "tenant_active": KindOf("The tenant goes on.", "by"),
    "tenant_mode": KindOf("Rules decide (`enforce`), or only say what they would (`observe`).", "mode by"),
    "tenant_opened": KindOf("The tenant was made.", "tenant_day_usd policy"),
    "tenant_configured": KindOf("The tenant's settings are others.", "timezone timings"),
    "policy_published": KindOf("A policy is in force.", "policy_version digest by"),
    "profiles_published": KindOf("Agent profiles are in force.", "profiles_version by"),
    "prices_changed": KindOf("Other prices are in use.", "version before by"),
    "outcomes_reset": KindOf("What was learned from outcomes was forgotten.", "rows by"),
    "envelope_made": KindOf("Something was approved in advance.", _ENVELOPE),
    "envelope_revoked": KindOf("An approval in advance ended.", _ENVELOPE),
    "workflow_ended": KindOf(
        "A workflow ended for all its members: what was planned, used, and asked beside the plan.",
        _FLOW + "how used_usd beside_usd uses asked open members",
    ),
    "workflow_invited": KindOf("A join token of a workflow was made.", "workflow_id name uses expires_at agents by"),
    "workflow_narrowed": KindOf("The plan of a workflow was made smaller.", _FLOW + "lasts_seconds"),
    "ceiling_set": KindOf("Up to how much an operator may approve.", "operator limit_usd by"),
    "key_created": KindOf("An API key was made.", "key_id role name person by"),
    "key_revoked": KindOf("An API key was revoked.", "key_id role name person by"),
    "person_added": KindOf("A person was added.", _PERSON),
    "person_changed": KindOf("What a person may do is another.", _PERSON),
    "person_removed": KindOf("A person was removed, with all credentials.", _PERSON),
    "credential_added": KindOf("A person got a credential.", _PERSON + " credential"),
    "credential_revoked": KindOf("A person's credential ended.", _PERSON + " credential"),
    "kaizen_finding": KindOf(
        "A day was closed, and a detector found waste in it.",
        "finding_id detector title currency waste_usd low_usd high_usd count proposes",
    ),
    "kaizen_proposed": KindOf("A finding suggests a change.", "proposal_id finding_id verb proposes"),
    **{
        f"kaizen_{state}": KindOf(tells, "experiment_id task_type model candidate count log_e reason by")
        for state, tells in {
            "running": "A shadow experiment began, or goes on.",
            "paused": "A shadow experiment rests.",
            "suggested": "A judge finds a cheaper model as good; labelled pairs must confirm it.",
            "certified": "A cheaper model was shown to do a type of task as well.",
            "refuted": "A cheaper model was shown to do worse than it may.",
            "undecided": "A shadow experiment ended without evidence either way.",
            "void": "A shadow experiment cannot say anything.",
            "stopped": "An operator ended a shadow experiment.",
            "lapsed": "A certificate counts no longer.",
        }.items()
    },
    **{
        f"kaizen_{state}": KindOf(tells, "proposal_id state policy_version digest percent count log_harm reason by")
        for state, tells in {
            "tested": "A proposal was tried on recorded requests.",
            "asked": "Persons are asked whether a proposal may be carried out.",
            "canary": "A proposal is tried in some sessions.",
            "kept": "A proposal is in force for all.",
            "rolled_back": "A proposal was taken back; the policy before it is in force.",
            "declined": "Nothing becomes of a proposal, for now (`later`) or for good.",
        }.items()
    },
    "channel_failed": KindOf("A channel does not work.", "problem direction by"),
    "channel_recovered": KindOf("A channel works again.", "problem direction by"),
    "events_lost": KindOf(
        "Events were gone before a webhook could be told of them, by retention.", "first_number last_number by"
    ),
    "webhook_dead_lettered": KindOf(
        "A webhook did not take an event, which was put aside.", "event_id event_kind attempts problem by"
    ),
    "webhook_replayed": KindOf("An operator had a webhook told of events again.", "channel since count by"),
    "channel_refused": KindOf("Somebody's word on a channel did not count.", "channel act by"),
}
"""By the name of the kind, in the order of the page."""


_HEAD = """# Events

Every decision, settlement and act of an operator is one event of its tenant, written in the same step as what it tells
of. `aegis events`, `GET /api/v1/events` and the stream `GET /api/v1/events/stream` show the same events;
[observability](observability.md#what-is-in-the-events) says how to find them.

Each has an `id` (its place in the stream), a `number`, a time `at`, a `kind`, the `tenant`, and an `agent_id` where it
is about an agent. Numbers are dense: where one is missing between two, an event is gone. What else it says are its
`facts`; those that say nothing are left out. Amounts are dollars, times are UTC. Texts of prompts and answers are never
stored: of a prompt an event has its size, and hashes keyed with a secret of the server. Where a person is asked about a
call that an adapter describes, the last 240 characters of its last message are kept, masked, with that question.

What an agent wrote itself (`intent`, `prompt_end`, `metadata`, `tool`, `target_resource`, `capability`, and the
`thread` and `problem` of a conversation) lies apart from its events, in one key of each agent. An event keeps a salted
digest of it. After `aegis forget` its events stay, with every amount, and say `words_gone`. Names of the agent itself,
of its sessions and requests, of models, types of tasks and locks are facts.

This page is made of `aegis_core/governor/event_catalog.py`:

`python -m aegis_core.governor.event_catalog > docs/events.md`
"""


def page() -> str:
    """The page of the documentation."""
    lines = [_HEAD, "## Kinds", "", "| kind | tells |", "| --- | --- |"]
    lines += [f"| `{kind}` | {each.tells} |" for kind, each in KINDS.items()]
    lines += ["", "## Facts", "", "| fact | says | of |", "| --- | --- | --- |"]
    for fact, says in FACTS.items():
        lines.append(f"| `{fact}` | {says} | {_of(fact)} |")
    return "\n".join(lines) + "\n"


def _of(fact: str) -> str:
    kinds = [kind for kind, each in KINDS.items() if fact in each.facts.split()]
    whole = [
        (name, group)
        for name, group in (("decisions and how they end", _DECISION_KINDS), ("locks", _LOCK_KINDS))
        if group <= set(kinds)
    ]
    covered = {kind for _, group in whole for kind in group}
    return ", ".join([*(name for name, _ in whole), *(f"`{kind}`" for kind in kinds if kind not in covered)])


_DECISION_KINDS = {kind for kind, each in KINDS.items() if each.facts.startswith(_DECISION)}
_LOCK_KINDS = {kind for kind in KINDS if kind.startswith("lock_")}

if __name__ == "__main__":
    print(page(), end="")
