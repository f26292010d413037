"""What lies where in Redis: the one place that knows key names and the positions of fields in packed records.

The scripts name positions by constants such as ``R_STATE``; `with_positions` puts their numbers there.

Keys of a tenant share the hash tag ``{tenant}`` (one cluster slot) and the prefix ``ae:{tenant}:``

======================  ============================================  ===================================
``t``                   the tenant (packed ``TENANT``)                one
``a:AGENT``             an agent (packed ``AGENT``)                   at most ``max_agents``
``s:SESSION``           a session (packed ``SESSION``)                ends when idle; 64 an agent
``r:ID``                a record: request, grant, idempotency         open: at most ``max_open_grants`` an
                                                                      agent; ended: expires
``d``                   deadlines of records and sessions (ZSET)      as many as those
``e``                   the events (STREAM)                           about ``events_kept``
``ag``, ``as:AGENT``    names of agents; sessions of an agent (ZSET)  as many as those
``b:OWNER``, ``bs``     a shared budget; their names (SET)            made by operators only
``p:VERSION``           a policy document                             the last 100
``pf``                  the agent profiles                            one
``pv``                  the version of the prices in use (STRING)     one
``k:KEY``, ``ks``       an API key, hashed; their names (SET)         made by operators only
``f:AGENT\tMODEL``       shares of the bound that settled (STRING)     expires after 30 days
``o``                   outcomes by task type, agent and model (HASH)  at most 4,000 rows
``j:ID``, ``ja:AGENT``  the execution journal; its ids by expiry      at most 2,000 an agent; expires
``jx:SESSION``          the last 128 refused calls (STRING)           expires when idle
``u:DAY``               what a day cost, for the bill (HASH)          expires after 400 days
``cl:CHANNEL``          who announces on a channel (STRING)           expires within a minute
``cn:CHANNEL``          what it shows of open approvals (HASH)        as many as those; expires after 30 days
``cm:CHANNEL\tMESSAGE``  the approval of a message (STRING)          expires after 30 days
``cx:CHANNEL``          whom it refused (HASH)                        at most 1,000; expires after an hour
``l:NAME``              a lock (packed ``LOCK``)                      while held or waited for; expires 7 days
                                                                      after its last lease
``lq:NAME``, ``lw:NAME``  its queue: tokens by rank (ZSET), and the   at most 10,000 waiters; expire likewise
                        packed ``WAITER`` of each token (HASH)
``lc``                  the last fence and the last place (packed)    one
``ld``                  names of locks by their next expiry (ZSET)    as many as those; at most 10,000
``la:AGENT``            what an agent holds and waits for (ZSET)      at most 1,000 an agent
``ap``, ``ah``          open approvals; ended ones (ZSET)             as many as open; the last 10,000
``x:CONTENT``           what a person refused, and why                expires after an hour
``v``                   what was approved in advance                  at most 200, made by operators only
``ol``                  up to how much an operator may approve (HASH) made by operators only
``i``, ``i:PROCESS``    the inboxes (PUBSUB channels, no keys)
======================  ============================================  ===================================
"""

from __future__ import annotations

import re

SCHEMA = 2
"""The version of everything below. Data of a newer version is refused."""

SCHEMA_KEY = "ae:schema"
PEPPER_KEY = "ae:pepper"
TENANTS_KEY = "ae:tenants"
CLOCK_KEY = "ae:clock"
"""Holds the virtual time of a throw-away server; no shipped script reads it."""

POLICIES_KEPT = 100
ENVELOPES_KEPT = 200
SESSIONS_KEPT = 64

TENANT = (
    "SCHEMA", "STATUS", "POLICY", "ZONE", "DUE", "CONFIG", "SHARED", "AGENTS", "PURSE", "MODE", "PROFILES", "KEYS",
)  # fmt: skip
AGENT = (
    "STATUS", "FRAMEWORK", "OPEN", "SESSION", "LABELS", "PURSE", "REGISTERED", "SEEN", "PROFILE", "PRIORITY",
    "CAPABILITIES", "TRUST", "PENDING", "COUNTERS", "RING", "QUESTIONS",
)  # fmt: skip
SESSION = ("AGENT", "PRIORITY", "CAPABILITIES", "TOKEN", "OPENED", "SEEN", "FRAMEWORK", "PURSE", "LOCAL")
RECORD = (
    "STATE", "AGENT", "REQUEST", "SESSION", "DIGEST", "POLICY", "CREATED", "CHANGED", "DEADLINE", "AMOUNT", "CHARGED",
    "CODE", "RULE", "REASON", "RETRY", "MODEL", "RECOMMENDED", "RESOURCE", "LINES", "SHORT", "SETTLED",
    "STRICT", "SAMPLES", "TRUSTED", "WOULD", "ASKED", "ENVELOPE", "WHY", "LOCK",
)  # fmt: skip
QUESTION = (
    "QUORUM", "APPROVES", "OPERATORS", "REMIND", "VOTES", "HOW", "BY", "AT", "WHY", "CLAIMED", "CONTENT", "EDITED",
    "TRACE",
)  # fmt: skip
"""The part of a record that waits, or waited, for a person: the field ASKED. CONTENT is by what the agent's question is
known again; EDITED is the same of what an operator made of it."""
ENVELOPE = (
    "ID", "AGENT", "SESSION", "TOOL", "RULE", "PHRASE", "RESOURCE", "LIMIT", "USED", "USES", "AUTHOR", "MADE",
    "EXPIRES", "REASON",
)  # fmt: skip
BUDGET = ("KIND", "LIMIT", "WINDOW", "SPENT", "RESERVED", "CROSSED", "RING")
CONFIG = (
    "GRANT", "GRANT_MAX", "APPROVAL", "KEEP", "TRANSIENT", "IDLE", "OPEN", "AGENTS", "EVENTS", "AGENT_DAY",
    "QUESTIONS", "REFUSAL",
)  # fmt: skip
LEASE = ("RESOURCE", "TTL", "PRIORITY", "CLAIMED", "WITHIN", "QUEUED", "LOST", "STANDS")
"""The part of a record that is about a lock: the field LOCK. Its token is ``lk_`` and the record's id. WITHIN
are the leases of who asked for it, {lock, token, ...}; QUEUED: it was asked for. LOST: it was
gone before its grant ended. STANDS is how it stands when a script
answers; what is stored lacks it."""
LOCK = ("PERMITS", "PREEMPTION", "GRACE", "HOLDERS", "QUEUED", "DUE")
HOLDER = (
    "TOKEN", "AGENT", "FENCE", "EXPIRES", "PRIORITY", "RANK", "WEIGHT", "MODE", "SINCE", "WAITED", "TTL", "CLAIMED",
    "EVICTED", "INBOX", "NAMES", "CHAIN", "WAITS", "SESSION",
)  # fmt: skip
WAITER = (
    "AGENT", "PRIORITY", "RANK", "WEIGHT", "MODE", "SINCE", "TTL", "ALIVE", "INBOX", "NAMES", "CHAIN", "WITHIN",
    "SESSION",
)  # fmt: skip

_POSITIONS = {
    f"{letter}_{name}": position
    for letter, names in zip(
        "TGSRBCQVKLHW",
        (TENANT, AGENT, SESSION, RECORD, BUDGET, CONFIG, QUESTION, ENVELOPE, LEASE, LOCK, HOLDER, WAITER),
        strict=True,
    )
    for position, name in enumerate(names, start=1)
}


def with_positions(source: str) -> str:
    """A script with the names of positions replaced by their numbers.

    Declared as locals they would be upvalues of every function that uses them, and Lua 5.1 looks for each of those in a
    list whenever it makes such a function, which is on every call of a script: a fifth of a decision's time.

    Raises:
        KeyError: the script names a position that does not exist.
    """
    return re.sub(r"\b[TGSRBCQVKLHW]_[A-Z_]+\b", lambda name: str(_POSITIONS[name[0]]), source)


def root(tenant: str) -> str:
    """The key of the tenant itself, from which the scripts build all others."""
    return f"ae:{{{tenant}}}:t"


def key(tenant: str, name: str) -> str:
    """Any other key of a tenant, by its name in the table above."""
    return f"ae:{{{tenant}}}:{name}"
