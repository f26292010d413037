"""Which refusals must be told one by one, and which together: a second time, for the models of both machines."""

from __future__ import annotations

from dataclasses import dataclass

ALIKE = 10_000
KINDS = 8


@dataclass
class Alike:
    """Refusals of one kind."""

    kind: tuple[object, ...]
    code: str
    since: int
    until: int
    most: int
    count: int = 0


class Refusals:
    """Of one tenant, by agent. What must be announced is put into `events`."""

    def __init__(self, events: list[tuple[object, ...]]) -> None:
        self.events = events
        self.alike: dict[str, list[Alike]] = {}
        self.due: dict[str, int] = {}

    def counts(self, agent: str, now: int, code: str, kind: tuple[object, ...], amount: int) -> bool:
        """Whether one more is only counted."""
        known = self.alike.setdefault(agent, [])
        if known and not known[0].since <= now < known[0].since + ALIKE:
            self.tell(agent)
            known = self.alike[agent] = []
        for one in known:
            if (one.code, one.kind) == (code, kind):
                one.count, one.until, one.most = one.count + 1, now, max(one.most, amount)
                if one.count == 1:
                    self.due[agent] = known[0].since + ALIKE
                return True
        if len(known) < KINDS:
            known.append(Alike(kind, code, now, now, amount))
        return False

    def tell(self, agent: str) -> None:
        """Tell what is counted, and begin anew."""
        for one in self.alike.pop(agent, []):
            if one.count:
                self.events.append(("refusals_repeated", agent, one.since, one.until, one.count, one.code, one.most))

    def overdue(self, now: int) -> list[tuple[int, str, str]]:
        """Deadline, its name in the list of all, and agent."""
        return [(due, f"a:/{agent}", agent) for agent, due in self.due.items() if due <= now]

    def end(self, agent: str, now: int) -> None:
        """What a sweep does at the deadline; the counting may have begun anew meanwhile."""
        known = self.alike.get(agent)
        if known and known[0].since <= now < known[0].since + ALIKE:
            self.due[agent] = known[0].since + ALIKE
            return
        self.tell(agent)
        del self.due[agent]

    def stored(self, agent: str) -> list[tuple[str, int, int, int, int]]:
        """What the agent's record holds of it."""
        return [(one.code, one.since, one.until, one.count, one.most) for one in self.alike.get(agent, [])]


def as_stored(rows: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """The same of what was read, by name."""
    return [tuple(row[name] for name in ("CODE", "SINCE", "UNTIL", "COUNT", "MOST")) for row in rows]
