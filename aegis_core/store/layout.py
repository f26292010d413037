"""What lies where in Redis: the one place that knows key names. What lies there is declared in `schema`.

Keys of a tenant share the hash tag ``{tenant}`` (one cluster slot) and the prefix ``ae:{tenant}:``

======================  ============================================  ===================================
``t``                   the tenant (packed ``Tenant``)                one
``a:AGENT``             an agent (packed ``Agent``)                   at most ``max_agents``
``s:SESSION``           a session (packed ``Session``)                ends when idle; 64 an agent
``r:ID``                a record: request, grant, idempotency         open: at most ``max_open_grants`` an
                                                                      agent; ended: expires
``d``                   deadlines of records, sessions and counted    as many as those, and one an agent
                        refusals (ZSET)
``e``                   the events (STREAM)                           about ``events_kept``
``w:AGENT``             what an agent wrote, by event (STREAM)        at most ``events_kept`` an agent, as
                                                                      many bytes as events; expires
``c``                   counts, which only grow, and the number of    as many as kinds and codes
                        the last event (HASH)
``ag``, ``as:AGENT``    names of agents; sessions of an agent (ZSET)  as many as those
``bl``                  names of blocked agents (SET)                 as many as those
``ac``                  how many agents each key registered (HASH)    as many as keys, made by operators only
``b:OWNER``, ``bs``     a shared budget; their names (SET)            made by operators only
``p:VERSION``           a policy document                             the last 100
``pf``                  the agent profiles                            one
``pv``                  the version of the prices in use (STRING)     one
``k:KEY``, ``ks``       an API key, hashed; their names (SET)         made by operators only
``pe``, ``pc``          persons by name, packed; whose a credential   at most 1,000, with 32 each; made by
                        is, empty for one that ended (HASH)           owners only
``f:AGENT\tMODEL``       shares of the bound that settled (STRING)     expires after 30 days
``o``                   outcomes by task type, agent and model (HASH)  at most 4,000 rows
``j:ID``, ``ja:AGENT``  the execution journal; its ids by expiry      at most 2,000 an agent; expires
``jl:AGENT``            the ids of its entries with long results      at most 128; expires
``jx:SESSION``          the last 128 refused calls (STRING)           expires when idle
``u:DAY``               what a day cost, for the bill (HASH)          expires after 400 days
``h:HOUR``              what happened in an hour, by agent, model,     at most 2,000 rows, all together 200,000 or
                        task, rule, lock and labels (HASH)            twice the events; expires after 402 days
``hc``                  who counts that, and how far (HASH)           one
``kz``                  who closes days for Kaizen, and how far (HASH) one
``kd:DAY``              Kaizen's report of a day (STRING)              expires after 402 days
``kx``, ``kx:NAME``     names of shadow experiments (SET), and one    at most 200; one that ended expires after
                        with its pairs by number (HASH)               400 days
``kp``                  Kaizen's proposals, packed (HASH)              at most 200
``ca:CHANNEL``          how many alerts it was told (STRING)          expires after an hour
``cl:CHANNEL``          who announces on a channel, or watches        expires within three minutes
                        spending (``~spending``) (STRING)
``ch:CHANNEL``          how sending and hearing go (HASH)             expires a day after it was last served
``cn:CHANNEL``          what it shows of open approvals (HASH)        as many as those; expires after 30 days
``cm:CHANNEL\tMESSAGE``  the approval of a message (STRING)          expires after 30 days
``cx:CHANNEL``          whom it refused (HASH)                        at most 1,000; expires after an hour
``dv:DESTINATION``      who posts events there, and how far (HASH)    expires after 30 days
``dl:DESTINATION``      events that it did not take (STREAM)          the last 1,000; expires after 30 days
``dn``                  names of destinations by when they were       as many as are configured, or were
                        last held (ZSET)                              within 30 days
``g:CHAIN``             the price of gas (packed ``SeenGas``)         as many as chains; expires after an hour
``gt:ID``               a transaction that a grant is for (packed     as many as grants; ends with its nonce
                        ``Watch``)
``gd``                  watched grants by when to look (ZSET)         at most 10,000
``gn:WALLET``           the next nonce of a wallet (STRING)           expires after 7 days
``l:NAME``              a lock (packed ``Lock``)                      while held or waited for; expires 7 days
                                                                      after its last lease
``lq:NAME``, ``lw:NAME``  its queue: tokens by rank (ZSET), and the   at most 10,000 waiters; expire likewise
                        packed ``Waiter`` of each token (HASH)
``lp:NAME``             its places of each agent and key (HASH)       as many as waiters; expires likewise
``lc``                  the last fence and the last place (packed)    one
``ld``                  names of locks by their next expiry (ZSET)    as many as those; at most 10,000
``la:AGENT``            what an agent holds and waits for (ZSET)      at most 1,000 an agent
``lk:KEY``              the same of all agents of a key (ZSET)        at most 10,000 a key
``ap``, ``ah``          open approvals; ended ones (ZSET)             as many as open; the last 10,000
``q:ID``, ``q:ID:e``    the arguments that a question shows, masked:   as long as its record; expire
                        as asked, and as edited (STRING)
``qn:NAME``             the question that calls of a name join        expires an hour after it ended
                        (STRING)
``x:CONTENT``           what a person refused, and why                expires after an hour
``v``                   what was approved in advance                  at most 200, made by operators only
``ol``                  up to how much an operator may approve (HASH) made by operators only
``wf:ID``               a workflow (packed ``Workflow``)              as long as its question ``r:ID`` is open;
                                                                      expires 7 days after it ended
``wm:ID``, ``wo:ID``    sessions that joined it; what they have open  at most 1,000; as many as those; expire
                        (ZSET)                                        likewise
``wl``                  ids of workflows (ZSET)                       the last 10,000
``i``, ``i:PROCESS``    the inboxes (PUBSUB channels, no keys)
======================  ============================================  ===================================
"""

from __future__ import annotations

SCHEMA = 3
"""The version of all that is stored. Data of another version is refused; a record that only grows needs no new one."""

SCHEMA_KEY = "ae:schema"
PEPPER_KEY = "ae:pepper"
BIRTH_KEY = "ae:birth"
TENANTS_KEY = "ae:tenants"
WRITERS_KEY = "ae:writers"
"""The versions of Aegis that opened this database (ZSET), by how many fields each declares."""
LOOKER_KEY = "ae:looker"
"""Which process looks at the server for all (STRING); expires soon after it stopped."""
SERVER_KEY = "ae:server"
"""How the server evicts keys, as that process found (STRING): its maxmemory-policy."""
LIBRARIES_KEY = "ae:libraries"
"""The libraries of functions that versions of Aegis loaded (ZSET), by when (ms) a process last opened them."""
CLOCK_KEY = "ae:clock"
"""Holds the virtual time of a throw-away server; no shipped script reads it."""

POLICIES_KEPT = 100
ENVELOPES_KEPT = 200
SESSIONS_KEPT = 64

HEADS = frozenset(
    (
        "t", "a:", "s:", "r:", "d", "e", "w:", "c", "ag", "as:", "ac", "bl", "b:", "bs", "p:", "pf", "pv", "k:",
        "ks", "pe", "pc", "f:", "o", "h:", "hc", "kz", "kd:", "kp", "kx", "kx:", "j:", "ja:", "jl:", "jx:", "u:",
        "ca:", "cl:", "ch:", "cn:", "cm:", "cx:", "dv:", "dl:", "dn", "g:", "gt:", "gd", "gn:", "l:", "lq:", "lw:",
        "lp:", "lc", "ld", "la:", "lk:", "ap", "ah", "q:", "qn:", "x:", "v", "ol", "i", "i:", "wf:", "wm:", "wo:",
        "wl",
    )
)  # fmt: skip
"""How the names of keys begin: the table above, for the check of the scripts."""


def root(tenant: str) -> str:
    """The key of the tenant itself, from which the scripts build all others."""
    return f"ae:{{{tenant}}}:t"


def key(tenant: str, name: str) -> str:
    """Any other key of a tenant, by its name in the table above."""
    return f"ae:{{{tenant}}}:{name}"
