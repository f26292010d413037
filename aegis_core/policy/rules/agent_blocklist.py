"""``agent_blocklist``: agents that get nothing, by id or by a pattern of ids."""

from __future__ import annotations

from typing import Literal

from aegis_core.policy.case import Case
from aegis_core.policy.globs import NamePatterns, PatternList
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import RuleEffect


class AgentBlocklist(Rule, frozen=True):
    """An agent whose id is listed in `agents`; ``*`` stands for any characters, none included.

    Upper and lower case and letters that look alike are one, so that a blocked name cannot come back in disguise.
    """

    type: Literal["agent_blocklist"] = "agent_blocklist"
    effect: RuleEffect = "deny"
    agents: NamePatterns

    def compile(self) -> Conditions:
        """A look-up."""
        find = PatternList(self.agents).find

        def test(case: Case) -> bool:
            return find(case.agent) is not None

        def account(case: Case) -> str:
            name, found = case.facts.agent_id, find(case.agent)
            return f'agent "{name}" is not on the list' if found is None else f'agent "{name}" is blocked as "{found}"'

        return Conditions(test=test, account=account)


RULE = AgentBlocklist
