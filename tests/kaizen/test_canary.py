"""A change that is tried in some sessions: who has it is decided in the script, and it ends with what it changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import pytest

from aegis_core import Governor, Settings
from aegis_core.client.agent import GovernedAgent
from aegis_core.connect import open_governor
from aegis_core.governor.canary_watch import CanaryWatch
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.rulebook import Held
from aegis_core.policy.cohorts import below_of, in_cohort
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConflictError
from aegis_core.store import scripts
from aegis_core.store.proposal_records import StoredProposal
from aegis_core.store.proposal_verbs import PutProposal
from aegis_core.store.proposals import ProposalStore
from aegis_core.store.store import Store, open_store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]
STRICT = '{"schema": 1, "rules": [{"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": 0.5}]}'
FREE = '{"schema": 1, "rules": []}'
NAME = "p-00000001"
Act = Literal["begin", "widen", "keep", "stop", "revert"]


def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def store_of(governor: Governor) -> ProposalStore:
    return ProposalStore(port(governor)._ledger)  # pyright: ignore[reportPrivateUsage]


def stored(parent: int, changed: Policy) -> StoredProposal:
    return StoredProposal(
        0, "canary", False, "tighten", "t", "", "[]", parent, "", changed.digest, "{}", 0
    )  # fmt: skip


def order(record: StoredProposal, act: Act, document: str | None = None, percent: int = 0) -> PutProposal:
    return PutProposal(
        NAME, record.revision, list(record), act, document, record.digest, below_of(percent), None, "ada", 100
    )  # fmt: skip


async def begun(governor: Governor, percent: int = 50) -> tuple[ProposalStore, StoredProposal]:
    first = await port(governor).publish_policy(load_policy(FREE), author="ada")
    changed = load_policy(STRICT)
    found = store_of(governor)
    put = await found.put(order(stored(first, changed), "begin", changed.document, percent))
    assert put.done
    assert put.stored is not None
    assert put.stored.version == first + 1
    return found, put.stored


async def agents(governor: Governor, count: int = 24) -> list[GovernedAgent]:
    return [await governor.handshake(f"agent-{number}") for number in range(count)]


async def granted(all_of: Sequence[GovernedAgent]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for each in all_of:
        verdict = await each.request("work", estimated_cost_usd=1)
        found[each.session.session_id] = verdict.granted
        if verdict.grant_id:
            await each.release(verdict.grant_id)
    return found


async def test_the_script_decides_who_has_the_change_and_it_ends_with_its_parent(virtual: Virtual) -> None:
    governor, _, _ = virtual
    found, record = await begun(governor)
    those = await agents(governor)
    said = await granted(those)
    expected = {session: not in_cohort(NAME, session, below_of(50)) for session in said}
    assert said == expected
    assert set(said.values()) == {True, False}
    put = await found.put(order(record, "widen", percent=100))
    assert put.done
    assert put.stored is not None
    assert not any((await granted(those)).values())
    again = await found.put(order(record, "widen", percent=10))
    assert (again.done, again.stored) == (False, put.stored)  # an older revision changes nothing
    await port(governor).publish_policy(
        load_policy(FREE.replace("[]", '[{"name": "n", "type": "max_cost", "limit_usd": 9}]')), author="bo"
    )
    assert all((await granted(those)).values())
    with pytest.raises(ConflictError, match="is in force; the proposal was made for version"):
        await found.put(order(put.stored, "keep"))
    assert (await port(governor).operator.policy_version())[0] == record.version + 1


@pytest.mark.leaves("grants")
async def test_questions_are_judged_by_the_rules_of_their_session(virtual: Virtual) -> None:
    governor, _, _ = virtual
    of = port(governor)
    asks = '{"schema": 1, "rules": [{"name": "ask", "type": "max_cost", "limit_usd": 0.5}]}'
    first = await of.publish_policy(load_policy(asks), author="ada")
    questions = {each: await each.request("work", estimated_cost_usd=1) for each in await agents(governor, 8)}
    changed = load_policy(asks[:-2] + ', {"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": 0.7}]}')
    await store_of(governor).put(order(stored(first, changed), "begin", changed.document, 50))
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for each, verdict in questions.items():
        mine = in_cohort(NAME, each.session.session_id, below_of(50))
        assert verdict.escalation_id is not None
        try:
            await of.approvals.decide(verdict.escalation_id, "approve", by="ada")
            said[mine].add((await of.wait_for(verdict.grant_id or "", 0)).status)
        except ConflictError as error:
            said[mine].add(error.code)
            await of.approvals.decide(verdict.escalation_id, "reject", by="ada")
    assert said == {True: {"policy_denies"}, False: {"GRANTED"}}


async def test_beside_a_process_of_an_older_version_nobody_loops_and_its_sessions_are_left_out(
    virtual: Virtual, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    governor, clock, _ = virtual
    read = scripts._read  # pyright: ignore[reportPrivateUsage]

    def older_part(name: str) -> str:  # its scripts know the parent's version only
        return read(name).replace("if trial and trial[CANARY_PARENT]", "if false and trial[CANARY_PARENT]")

    with monkeypatch.context() as older:
        older.setattr(scripts, "_read", older_part)
        store = await open_store(settings, virtual_time=True)
    other = await open_governor(store, settings)
    try:
        _, record = await begun(governor)
        rules = other._rules  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(rules, "held", lambda _: Held(rules.policy_version, rules.policy))
        theirs = await granted(await agents(Governor(other)))
        assert all(theirs.values())
        assert set((await granted(await agents(governor))).values()) == {True, False}
        assert all((await granted(await agents(Governor(other)))).values()), "each goes on as it did"
        now = await port(governor)._ledger.now()  # pyright: ignore[reportPrivateUsage]
        tally = json.dumps({"stages": [[now, 50]]})
        await clock.advance(hours=2)
        seen = await CanaryWatch(port(governor).kaizen.page).look(
            NAME, record._replace(tally=tally), 2**52, 2 * 3_600_000
        )
        expected = sum(in_cohort(NAME, session, below_of(50)) for session in theirs)
        assert seen.tally["unknowing"] >= expected > 0
        assert seen.tally["changed"] > 0
    finally:
        await other.aclose()
        await store.aclose()
