"""One request under judgement: what rules look at, each reading of it made once and only when a rule asks."""

from __future__ import annotations

from datetime import datetime

from aegis_core.policy.facts import AgentFacts
from aegis_core.policy.globs import fold_name
from aegis_core.policy.text import fold, is_heavy, normalise, reading, set_apart, spaced, words_of
from aegis_core.policy.tool_names import ToolName
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.transactions import TransactionFacts, transaction_of


class Case:
    """A request of an agent at a time.

    Attributes:
        request: what is asked.
        facts: what is known of who asks.
        now: the server's time; None when it is not known.
    """

    # Of the class until they are made: one is built for each evaluation, and most of these stay unused.
    _words: list[str] | None = None
    _text: str | None = None
    _searchable: tuple[bytes, ...] | None = None
    _agent: str | None = None
    _tool: ToolName | None = None

    def __init__(self, request: PermissionRequest, facts: AgentFacts, now: datetime | None) -> None:
        self.request, self.facts, self.now = request, facts, now

    @property
    def agent(self) -> str:
        """The agent's id, folded as names are."""
        if self._agent is None:
            self._agent = fold_name(self.facts.agent_id)
        return self._agent

    @property
    def tool(self) -> ToolName | None:
        """The tool that is named, as rules compare it."""
        if self._tool is None and self.request.tool is not None:
            self._tool = ToolName(self.request.tool)
        return self._tool

    @property
    def transaction(self) -> TransactionFacts | None:
        """The transaction that it shows."""
        return transaction_of(self.request)

    @property
    def words(self) -> list[str]:
        """The words of the intent."""
        if self._words is None:
            self._words = words_of(self.request.task_intent)
        return self._words

    @property
    def text(self) -> str:
        """The intent as phrases read it."""
        if self._text is None:
            self._text = spaced(self.words)
        return self._text

    @property
    def searchable(self) -> tuple[bytes, ...]:
        """The intent as regular expressions read it: folded, and where that differs, with its own letters as well.

        A pattern is not folded, so one that is written in Greek or Cyrillic would otherwise match nothing.
        """
        if self._searchable is None:
            intent = self.request.task_intent
            if is_heavy(intent):
                readings = [*dict.fromkeys(reading(intent)[:2])]
            else:
                readings = [normalise(intent)]
                if not intent.isascii() and (folded := fold(intent)) != readings[0]:
                    readings.append(folded)
            if (apart := set_apart(intent)) is not None:
                readings.append(fold(apart))
            self._searchable = tuple(reading.encode("utf-8", "replace") for reading in readings)
        return self._searchable
