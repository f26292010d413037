"""What a governor holds of its tenant's rules, each with its version: policy, agent profiles, and who asks.

All of it is a copy. The script compares versions with what is in force and says which copy is old; that one is then
read again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Literal, NamedTuple

from aegis_core.governor import budgets
from aegis_core.policy.cohorts import in_cohort
from aegis_core.policy.engine import Policy
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConflictError, StaleError
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.profiles import Profile, ProfileSet, load_profiles
from aegis_core.store.ledger import Ledger
from aegis_core.store.operator_verbs import ApplyProfile
from aegis_core.store.operators import OperatorStore
from aegis_core.store.proposal_records import Canary
from aegis_core.store.rules_read import read_rules

_SESSIONS_HELD = 10_000


class Held(NamedTuple):
    """The policy that holds for a session, its version, and the proposal that says so where a change is tried."""

    version: int
    policy: Policy
    trial: str | Literal[False] = False


class Rulebook:
    """The copies of one governor."""

    def __init__(self, ledger: Ledger, registry: OperatorStore, policy: tuple[int, Policy]) -> None:
        self._ledger, self._registry = ledger, registry
        self.policy_version: int = policy[0]
        self.policy: Policy = policy[1]
        self._canary: tuple[Canary, Policy] | None = None
        self.profiles_version, self._profiles = 0, ProfileSet()
        self._known: OrderedDict[str, Profile] = OrderedDict()
        self._sessions: OrderedDict[str, AgentFacts] = OrderedDict()
        self._latest: OrderedDict[str, str] = OrderedDict()

    async def facts_of(self, agent: str, session: str | None) -> tuple[str, AgentFacts]:
        """The session that asks (the agent's open one by default), and what the policy may know of it.

        Of a session that has ended or is another agent's nothing is known, and the script decides nothing new for it.

        Raises:
            NotFoundError: the agent is unknown.
        """
        sid = session or self._latest.get(agent)
        facts = self._sessions.get(sid) if sid else None
        if sid is None or facts is None or facts.agent_id != agent:
            sid, facts = await self._read_session(agent, session)
        return sid, facts

    async def _read_session(self, agent: str, session: str | None) -> tuple[str, AgentFacts]:
        sid, framework, claimed, priority, workflow = await self._ledger.read_session(agent, session)
        if priority == 0:
            return sid, AgentFacts(agent)
        profile = self._profile(agent)
        capabilities = frozenset(name for name in claimed.split(",") if name)
        if profile.capabilities is not None:
            capabilities &= frozenset(profile.capabilities)
        top = min(priority, profile.max_priority)
        facts = AgentFacts(agent, framework, capabilities, top, profile.labels, profile.wallets, member=bool(workflow))
        _hold(self._sessions, sid, facts)
        if session is None:
            _hold(self._latest, agent, sid)
        return sid, facts

    def _profile(self, agent: str) -> Profile:
        profile = self._known.get(agent)
        if profile is None:
            profile = self._profiles.of(agent)
            _hold(self._known, agent, profile)
        return profile

    def basis(self, policy: Policy, prices: str) -> str:
        """By what a decision is made: the policy's digest, the profiles' version, the prices' version; shortened."""
        return f"{policy.digest[:12]} {self.profiles_version} {prices[-24:]}"

    async def reload(self, word: str, agent: str) -> None:
        """Read again what the script called old: the policy (``STALE``), the profiles (``PROFILE``; ``OPENER``: of who
        opened the workflow), or the session."""
        if word == "STALE":
            await self.reload_policy()
        elif word in {"PROFILE", "OPENER"}:
            await self.apply_profile(agent)
        else:
            self._latest.pop(agent, None)

    def held(self, session: str | None) -> Held:
        """The policy that holds for a session, as far as it is known here."""
        if self._canary is not None and self._canary[0].parent == self.policy_version:
            canary, policy = self._canary
            if in_cohort(canary.proposal, session or "", canary.below):
                return Held(canary.version, policy, canary.proposal)
        return Held(self.policy_version, self.policy)

    async def reload_policy(self) -> None:
        """Take the policy in force, and what is tried instead of it in some sessions."""
        found = await read_rules(self._ledger)
        if found.version != self.policy_version:
            source = f"policy version {found.version}"
            self.policy_version, self.policy = found.version, load_policy(found.document, source)
        if found.canary is None or found.tried is None:
            self._canary = None
        elif self._canary is not None and self._canary[0].proposal == found.canary.proposal:
            self._canary = found.canary, self._canary[1]  # under this name it is the same document
        else:
            self._canary = found.canary, load_policy(found.tried, f"policy version {found.canary.version}")

    async def apply_profile(self, agent: str) -> None:
        """Take the profiles in force, and write what they say of this agent into its record."""
        for _ in range(2):
            version, text = await self._registry.read_profiles()
            if version != self.profiles_version:
                self.profiles_version, self._profiles = version, load_profiles(text)
                self._known.clear()
                self._sessions.clear()
            if await self._registry.apply_profile(_order(self._profile(agent), agent, version)):
                return
        raise StaleError("The profiles change faster than they can be read; try again.", reason="stale")


def replaced_meanwhile(expected: int, present: int) -> ConflictError:
    """Why a policy was not published."""
    return ConflictError(
        f"Version {present} of the policy is in force, not version {expected}, which this one was made from. It stays; "
        "compare with it, and publish again.",
        code="policy_replaced",
        version=present,
    )


def _hold(cache: OrderedDict[str, Any], name: str, value: Any) -> None:
    cache[name] = value
    if len(cache) > _SESSIONS_HELD:
        cache.popitem(last=False)


def _order(profile: Profile, agent: str, version: int) -> ApplyProfile:
    """What ``apply_profile.lua`` is called with."""
    limits: list[object] = []
    for window, limit in profile.budgets.items():
        limits += (budgets.kind_of(window), to_nanos(limit))
    capabilities = False if profile.capabilities is None else f",{','.join(profile.capabilities)},"
    labels = sorted(f"{key}={value}" for key, value in profile.labels.items())
    return ApplyProfile(
        agent=agent, version=version, priority=profile.max_priority, capabilities=capabilities, labels=labels,
        trust=profile.settlement or False, limits=limits,
    )  # fmt: skip
