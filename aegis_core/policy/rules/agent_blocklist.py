"""``agent_blocklist``: agents that get nothing, by id or by a pattern of ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal
from unicodedata import normalize

from pydantic import AfterValidator, Field

from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.rules.base import Conditions, Rule
from aegis_core.policy.ruling import Objection
from aegis_core.protocol import PermissionRequest

_PATTERN = re.compile(r"[\w.:@/*-]{1,128}")


def _pattern(value: str) -> str:
    text = normalize("NFKC", value)
    if not _PATTERN.fullmatch(text):
        raise ValueError("must be 1 to 128 letters, digits or any of _ . : @ / - and * for anything")
    return text


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern with stars. The leftmost place of each inner part is the best one, so nothing is tried twice."""

    source: str
    head: str
    inner: tuple[str, ...]
    tail: str

    @classmethod
    def parse(cls, source: str) -> Glob:
        """Read a pattern that has at least one star."""
        head, *inner, tail = source.split("*")
        return cls(source, head, tuple(inner), tail)

    def matches(self, name: str) -> bool:
        """Whether the whole name fits the pattern."""
        end = len(name) - len(self.tail)
        at = len(self.head)
        if end < at or not name.startswith(self.head) or not name.endswith(self.tail):
            return False
        for part in self.inner:
            found = name.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


class AgentBlocklist(Rule, frozen=True):
    """An agent whose id is listed in `agents`; ``*`` stands for any characters, none included."""

    type: Literal["agent_blocklist"] = "agent_blocklist"
    effect: Objection = "deny"
    agents: Annotated[tuple[Annotated[str, AfterValidator(_pattern)], ...], Field(min_length=1)]

    def compile(self) -> Conditions:
        """A set of ids and a list of patterns."""
        exact = frozenset(agent for agent in self.agents if "*" not in agent)
        globs = tuple(Glob.parse(agent) for agent in self.agents if "*" in agent)

        def entry(name: str) -> str | None:
            if name in exact:
                return name
            for glob in globs:
                if glob.matches(name):
                    return glob.source
            return None

        def test(_: PermissionRequest, facts: AgentFacts) -> bool:
            return entry(facts.agent_id) is not None

        def account(_: PermissionRequest, facts: AgentFacts) -> str:
            name, found = facts.agent_id, entry(facts.agent_id)
            return f'agent "{name}" is not on the list' if found is None else f'agent "{name}" is blocked as "{found}"'

        return Conditions(test=test, account=account)


RULE = AgentBlocklist
