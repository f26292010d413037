"""A change that is tried in some sessions: who has it is decided in the script, and it ends with what it changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aegis_core import Governor
from aegis_core.client.agent import GovernedAgent
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.cohorts import below_of, in_cohort
from aegis_core.policy.engine import Policy
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConflictError
from aegis_core.store.proposal_records import StoredProposal
from aegis_core.store.proposal_verbs import PutProposal
from aegis_core.store.proposals import ProposalStore
from aegis_core.store.store import Store
from aegis_core.testing import FakeClock

Virtual = tuple[Governor, FakeClock, Store]
STRICT = '{"schema": 1, "rules": [{"name": "cap", "type": "max_cost", "effect": "deny", "limit_usd": 0.5}]}'
FREE = '{"schema": 1, "rules": []}'
NAME = "p-00000001"


def port(governor: Governor) -> ResourceGovernor:
    assert isinstance(governor.port, ResourceGovernor)
    return governor.port


def store_of(governor: Governor) -> ProposalStore:
    return ProposalStore(port(governor)._ledger)  # pyright: ignore[reportPrivateUsage]


def stored(parent: int, changed: Policy, **said: object) -> StoredProposal:
    values = {"revision": 0, "state": "canary", "ended": False, "kind": "tighten", "title": "t", "finding": "", "change": "{}",
              "parent": parent, "parent_digest": "", "digest": changed.digest, "evidence": "{}", "until": 0}  # fmt: skip
    return StoredProposal(**(values | said))  # type: ignore[arg-type]


def order(
    record: StoredProposal, act: str, document: str | None = None, percent: int = 0, name: str = NAME
) -> PutProposal:
    return PutProposal(name, record.revision, record, act, document, below_of(percent), None, "ada", 100)  # type: ignore[arg-type]


async def begun(governor: Governor, percent: int = 50) -> tuple[ProposalStore, StoredProposal]:
    first = await governor.port.publish_policy(load_policy(FREE), author="ada")  # type: ignore[attr-defined]
    changed = load_policy(STRICT)
    found = store_of(governor)
    put = await found.put(order(stored(first, changed), "begin", changed.document, percent))
    assert put.done and put.stored is not None
    assert put.stored.version == first + 1
    return found, put.stored


async def agents(governor: Governor, count: int = 24) -> list[GovernedAgent]:
    return [await governor.handshake(f"agent-{number}") for number in range(count)]


async def granted(all_of: Sequence[GovernedAgent]) -> dict[str, bool]:
    return {each.session.session_id: (await each.request("work", estimated_cost_usd=1)).granted for each in all_of}


async def test_the_script_decides_who_has_the_change_and_it_ends_with_its_parent(virtual: Virtual) -> None:
    governor, _, _ = virtual
    found, record = await begun(governor)
    those = await agents(governor)
    said = await granted(those)
    expected = {session: not in_cohort(NAME, session, below_of(50)) for session in said}
    assert said == expected and set(said.values()) == {True, False}
    put = await found.put(order(record, "widen", percent=100))
    assert put.done and put.stored is not None
    assert not any((await granted(those)).values())
    again = await found.put(order(record, "widen", percent=10))
    assert not again.done and again.stored == put.stored  # an older revision changes nothing
    await governor.port.publish_policy(
        load_policy(FREE.replace("[]", '[{"name": "n", "type": "max_cost", "limit_usd": 9}]')), author="bo"
    )  # type: ignore[attr-defined]
    assert all((await granted(those)).values())
    with pytest.raises(ConflictError, match="is in force; the proposal was made for version"):
        await found.put(order(put.stored, "keep"))
    assert (await port(governor).operator.policy_version())[0] == record.version + 1
