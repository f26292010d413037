"""A hundred recorded runs of an airline's agent (tau-bench, GPT-4o), as scripted models and tools of any framework.

A framework's test gives it a fake model that calls `Flight.answer` once for each call really made, and tools that call
`Flight.use` once for each execution; it enters every exchange through the framework's own agent, with the history of
the exchanges before it. What was called and what it cost is counted here, and only here.

::

    for run in read_runs(shared_data):
        flight = Flight(run)
        for exchange in run.exchanges:
            ...  # the framework's agent answers exchange.user
        flight.ended()

The recording holds no usage, so it is computed: a token is 4 bytes of UTF-8 text (contents, names and arguments of tool
calls), begun ones counted whole; input is all recorded messages before an answer, output is the answer. Prices are
those of `MODEL`, each call rounded up to the nano-dollar; a tool call costs `TOOL_USD`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aegis_core.client.sync import SyncGovernor
from aegis_core.connect import connect_sync
from aegis_core.store.embedded import join_sync
from aegis_core.testing import private_settings

RECORDING = "tau_bench_airline_gpt4o.jsonl"
MODEL = "gpt-4o"
INPUT_NANOS, OUTPUT_NANOS = 2_500, 10_000
"""Nano-dollars a token: $2.50 and $10 per million."""
CAP = 1_024
"""Output cap of the model; the longest recorded answer has fewer tokens."""
TOOL_USD = Decimal("0.001")
AGENT = "airline"
ESCALATED = ("book_reservation", "cancel_reservation", "send_certificate")

MODEL_CALLS, TOOL_CALLS, APPROVALS = 1_193, 577, 71
"""Of all hundred runs; `test_airline.py` counts them in the raw file."""


@dataclass(frozen=True)
class Answer:
    """One answer of the recorded model: words, or one tool call with what the tool answered."""

    text: str
    tool: str | None = None
    arguments: str = "{}"
    call_id: str = ""
    result: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Exchange:
    """A user's message and the answers up to the next one; the last is words."""

    user: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Run:
    """One recorded run. `name` is its thread."""

    name: str
    exchanges: tuple[Exchange, ...]

    @property
    def tools(self) -> list[str]:
        """The names of the tools that it calls."""
        return sorted({answer.tool for exchange in self.exchanges for answer in exchange.answers if answer.tool})


class Flight:
    """One run being replayed: what comes next, and what really came."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model_calls = 0
        self.uses: list[tuple[str, Any]] = []
        self.usd = Decimal(0)
        self._answers = [answer for exchange in run.exchanges for answer in exchange.answers]
        self._tools = [answer for answer in self._answers if answer.tool]
        self._lock = threading.Lock()

    def answer(self, last: str | None = None) -> Answer:
        """The next recorded answer. The fake model calls this once for each call that the framework makes.

        Args:
            last: the text of the last message that the model was given, where the framework keeps it as it was; it
                must be the recorded one.
        """
        with self._lock:
            assert self.model_calls < len(self._answers), f"{self.run.name}: more calls of the model than recorded"
            answer = self._answers[self.model_calls]
            if last is not None:
                self._same(last)
            self.model_calls += 1
            nanos = answer.input_tokens * INPUT_NANOS + answer.output_tokens * OUTPUT_NANOS
            self.usd += Decimal(nanos).scaleb(-9)
            return answer

    def use(self, tool: str, arguments: Any) -> str:
        """What the tool answered in the recording. Each execution calls this once, in the recorded order."""
        with self._lock:
            assert len(self.uses) < len(self._tools), f"{self.run.name}: more uses of tools than recorded"
            answer = self._tools[len(self.uses)]
            found = json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
            assert (tool, found) == (answer.tool, json.loads(answer.arguments)), f"{self.run.name}: another call"
            self.uses.append((tool, found))
            self.usd += TOOL_USD
            return answer.result

    def ended(self) -> None:
        """Assert that nothing of the recording is left."""
        assert self.model_calls == len(self._answers), f"{self.run.name}: {self.model_calls} of {len(self._answers)}"
        assert len(self.uses) == len(self._tools)

    def _same(self, last: str) -> None:
        before = self._answers[self.model_calls - 1] if self.model_calls else None
        if before is not None and before.tool:
            expected = before.result
        else:
            at, position = 0, 0
            while position < self.model_calls:
                position += len(self.run.exchanges[at].answers)
                at += 1
            expected = self.run.exchanges[at].user
        assert last == expected, f"{self.run.name}, call {self.model_calls + 1}: the model was given something else"


@dataclass
class Totals:
    """What a whole replay came to; equal in every framework."""

    model_calls: int = 0
    tool_calls: int = 0
    escalated: int = 0
    usd: Decimal = Decimal(0)

    def add(self, flight: Flight) -> None:
        """Count a run that has ended."""
        flight.ended()
        self.model_calls += flight.model_calls
        self.tool_calls += len(flight.uses)
        self.escalated += sum(tool in ESCALATED for tool, _ in flight.uses)
        self.usd += flight.usd


def read_runs(shared_data: Path, every: int = 1) -> list[Run]:
    """The recorded runs, in the order of the file; all, or the first of each `every`."""
    lines = (shared_data / RECORDING).read_text().splitlines()
    return [_run(json.loads(line)) for line in lines[::every]]


def recorded(runs: list[Run]) -> tuple[int, int, int]:
    """Calls of the model, of tools, and of tools that are escalated; for all runs the figures above."""
    answers = [answer for run in runs for exchange in run.exchanges for answer in exchange.answers]
    tools = [answer.tool for answer in answers if answer.tool]
    return len(answers), len(tools), sum(tool in ESCALATED for tool in tools)


daily_and_deep = pytest.mark.parametrize(
    "every", [pytest.param(10, id="every tenth run"), pytest.param(1, id="all runs", marks=pytest.mark.deep)]
)
"""A hundred runs through a framework take it up to half a minute, so every day it makes ten."""


def _run(row: Mapping[str, Any]) -> Run:
    exchanges: list[Exchange] = []
    user, answers, size = "", [], 0
    for position, step in enumerate(steps := row["steps"]):
        own = _bytes(step)
        if step["role"] == "user":
            if answers:
                exchanges.append(Exchange(user, tuple(answers)))
            user, answers = step["content"], []
        elif step["role"] == "assistant":
            counted = {"input_tokens": -(-size // 4), "output_tokens": -(-own // 4)}
            if step.get("tool_calls"):
                (call,) = step["tool_calls"]
                result = steps[position + 1]
                assert result["role"] == "tool"
                answers.append(
                    Answer("", call["name"], call["arguments"], call["id"], result["content"] or "", **counted)
                )
            else:
                answers.append(Answer(step["content"], **counted))
        size += own
    if answers and answers[-1].tool:  # the recording ends on a tool, whose result every framework shows the model
        answers.append(Answer("Done.", input_tokens=-(-size // 4), output_tokens=2))
    if answers:
        exchanges.append(Exchange(user, tuple(answers)))
    return Run(f"task-{row['task_id']}-{row['trial']}", tuple(exchanges))


def _bytes(step: Mapping[str, Any]) -> int:
    texts = [step.get("content") or ""]
    for call in step.get("tool_calls") or ():
        texts += [call["name"], call["arguments"]]
    return sum(len(text.encode()) for text in texts)


@contextmanager
def airline_governor(folder: Path, *, asks: bool) -> Iterator[SyncGovernor]:
    """A governor on a throw-away server with ample money; with `asks` the `ESCALATED` tools need a person."""
    rules: list[dict[str, Any]] = []
    if asks:
        rules.append({"name": "ask-first", "type": "sensitive_intent", "tools": list(ESCALATED)})
    policy = folder / "policy.json"
    policy.write_text(json.dumps({"schema": 1, "rules": rules}))
    handle = join_sync(None, throwaway=True)
    try:
        settings = private_settings(
            url=handle.url, tenant=f"t-{uuid4().hex[:12]}", policy_file=policy, agent_day_usd="10000",
            tenant_day_usd="10000", approval_seconds=600,
        )  # fmt: skip
        with connect_sync(settings=settings) as governor:
            governor.handshake(AGENT)
            governor.set_budget("agent", AGENT, "total", "10000")
            yield governor
    finally:
        handle.leave_sync()


class ApprovingOperator:
    """Approves whatever waits, from a thread of its own, and remembers which tools asked."""

    def __init__(self, governor: SyncGovernor) -> None:
        self._governor = governor
        self.approved: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> ApprovingOperator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        approvals = self._governor.approvals
        while not self._stop.wait(0.02):
            for waiting in approvals.list():
                self.approved.append(waiting.tool or "")  # before: the run goes on at once, and may be the last
                approvals.decide(waiting.approval_id, "approve", by="operator")


def spent_in_all(governor: SyncGovernor) -> tuple[Decimal, Decimal]:
    """Dollars charged to the agent, and dollars still held. A replay takes minutes, so not those of one day."""
    total = next(s for s in governor.budget(AGENT).budgets if (s.scope, s.window) == ("agent", "total"))
    return total.spent_usd, total.reserved_usd
