"""A trace: recorded calls in the order of their time, from a CSV or JSONL file, plain or gzipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aegis_core.protocol.errors import InvalidRequestError

Format = Literal["auto", "csv", "jsonl"]

DEFAULT_AGENT = "trace"
"""The agent of calls whose file names none."""


@dataclass(frozen=True, slots=True)
class Call:
    """One recorded call of a model, or of a tool.

    Attributes:
        at: when, in ms since 1970.
        agent: who asked.
        run: the run of that agent, which becomes a session; empty: one session for all its calls.
        line: where the file tells of it.
        intent: what it was about, in words that a policy can judge.
        tool: the tool's name; None for a call of a model.
        model: the model that was called; None: the file does not say.
        input_tokens: of the prompt, recorded or estimated.
        output_tokens: of the answer, recorded or estimated.
        prompt_tokens: the most tokens of the prompt, to reserve by.
        max_output_tokens: the most tokens of the answer, to reserve by.
        cost: what it cost in nano-dollars, where the file says so itself.
        arguments_hash: a fingerprint of a tool's arguments.
        target: what a tool works on, where an argument names it.
        error: the class of the error that it ended in.
        outcome: how well the task was done that it ended, 0 to 1, where the file says so.
        task_type: what type of task it belonged to.
        resource: of a call that is none of a model, the type of resource, where it is known.
        priority: with which it was asked.
    """

    at: int
    agent: str
    run: str
    line: int
    intent: str
    tool: str | None = None
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    cost: int | None = None
    arguments_hash: str | None = None
    target: str | None = None
    error: str | None = None
    outcome: float | None = None
    task_type: str | None = None
    resource: str | None = None
    priority: int = 5


@dataclass(frozen=True, slots=True)
class Trace:
    """What a file holds, ready to be replayed.

    Attributes:
        path: the file.
        format: how it was read.
        calls: sorted by time; equal times keep the order of the file.
        runs: runs of agents that the file tells apart; 0 for a CSV, which does not.
        bad: what is wrong with each row that was left out, one line each.
        notes: what was assumed where the file is silent.
    """

    path: Path
    format: Literal["csv", "jsonl"]
    calls: tuple[Call, ...]
    runs: int = 0
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Reading:
    """What a reader gathers: it hands over rows one by one, and the bad ones are refused or set aside here."""

    name: str
    limit: int | None
    skip_bad: bool
    calls: list[Call] = field(default_factory=list[Call])
    bad: list[str] = field(default_factory=list[str])
    rows: int = 0
    notes: list[str] = field(default_factory=list[str])

    def gather(self, rows: Iterable[Callable[[], list[Call]]]) -> None:
        """Parse rows, each given as what makes calls of it, up to the limit.

        Raises:
            InvalidRequestError: the first bad row, unless bad ones are to be skipped.
        """
        for parse in rows:
            if self.limit is not None and self.rows >= self.limit:
                break
            self.rows += 1
            try:
                self.calls += parse()
            except InvalidRequestError as error:
                if not self.skip_bad:
                    raise
                self.bad.append(error.message)

    def refuse(self, line: int, column: str, problem: str) -> InvalidRequestError:
        """The error for something in the file: where it is, and what was expected there."""
        return refusal(f"{self.name}:{line}", column, problem, line=line)


def refusal(where: str, column: str, problem: str, *, line: int | None = None) -> InvalidRequestError:
    """The error for a trace that cannot be read. Facts: `line` from 1, `field` (the column), `problem`."""
    place = f"{where}: {column}" if column else where
    return InvalidRequestError(f"{place}: {problem}", code="invalid_trace", field=column, problem=problem, line=line)


def printable(text: str) -> str:
    """Text for a terminal: what is neither printable nor a line break, an escape for example, is shown as its code."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def shown(value: object) -> str:
    """A value from the file for a message: quoted, so that no control character survives, and short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text that hold something, numbered from 1; only line feeds end a line, as JSONL has it."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line
