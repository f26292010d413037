"""What a governor holds of its tenant's rules, each with its version: policy, agent profiles, and who asks.

All of it is a copy. The script compares versions with what is in force and says which copy is old; that one is then
read again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from aegis_core.governor import budgets
from aegis_core.policy.engine import Policy
from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import StaleError
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.profiles import Profile, ProfileSet, load_profiles
from aegis_core.store.ledger import Ledger
from aegis_core.store.operator_verbs import ApplyProfile
from aegis_core.store.operators import OperatorStore

_SESSIONS_HELD = 10_000


class Rulebook:
    """The copies of one governor."""

    def __init__(self, ledger: Ledger, registry: OperatorStore, policy: tuple[int, Policy]) -> None:
        self._ledger, self._registry = ledger, registry
        self.policy_version: int = policy[0]
        self.policy: Policy = policy[1]
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

    def basis(self, prices: str) -> str:
        """By what a decision is made: the policy's digest, the profiles' version, the prices' version; shortened."""
        return f"{self.policy.digest[:12]} {self.profiles_version} {prices[-24:]}"

    async def reload(self, word: str, agent: str) -> None:
        """Read again what the script called old: the policy (``STALE``), the profiles (``PROFILE``; ``OPENER``: of who
        opened the workflow), or the session."""
        if word == "STALE":
            await self.reload_policy()
        elif word in {"PROFILE", "OPENER"}:
            await self.apply_profile(agent)
        else:
            self._latest.pop(agent, None)

    async def reload_policy(self) -> None:
        """Take the policy in force."""
        version, document = await self._ledger.read_policy()
        if version != self.policy_version:
            self.policy_version, self.policy = version, load_policy(document, f"policy version {version}")

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
