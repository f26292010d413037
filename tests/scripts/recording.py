"""The steps of a state machine, kept as data: recorded while hypothesis draws them, and walked again without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from hypothesis.stateful import initialize, rule

TRACES = Path(__file__).parent / "traces"
Trace = list[tuple[str, dict[str, Any]]]


def step(**drawn: Any) -> Callable[[Callable[..., None]], Any]:
    """A `rule` whose calls are kept in the machine's trace."""
    return lambda function: rule(**drawn)(_kept(function))


def first_step(**drawn: Any) -> Callable[[Callable[..., None]], Any]:
    """An `initialize` whose call is kept likewise."""
    return lambda function: initialize(**drawn)(_kept(function))


def _kept(function: Callable[..., None]) -> Callable[..., None]:
    @wraps(function)
    def call(machine: Any, **values: Any) -> None:
        # On the class, because hypothesis makes its own instances; the last one made is the one that failed.
        kept = vars(machine).setdefault("trace", [])
        type(machine).last_trace = kept
        kept.append((function.__name__, values))
        function(machine, **values)

    return call


def walk_again(machine: Any, trace: Trace) -> None:
    """Take the steps of a trace, with the invariants that the machine names in `looks` after each of them."""
    one = machine()
    try:
        for name, values in trace:
            getattr(one, name)(**values)
            for each in machine.looks:
                getattr(one, each)()
    finally:
        one.teardown()


def shortest(trace: Trace, fails: Callable[[Trace], bool]) -> Trace:
    """The trace without every run of steps that it fails without, the first step kept (delta debugging).

    Source: A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002.
    """
    size = len(trace) // 2
    while size:
        at, shorter = 1, False
        while at < len(trace):
            tried = trace[:at] + trace[at + size :]
            if len(tried) < len(trace) and fails(tried):
                trace, shorter = tried, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return trace


def read_traces(machine: str) -> dict[str, Trace]:
    """The traces of a machine's mutants, by the mutant's name."""
    file = TRACES / f"{machine}.json"
    if not file.exists():
        return {}
    return {
        name: [(at, {key: _hashable(value) for key, value in values.items()}) for at, values in steps]
        for name, steps in json.loads(file.read_text()).items()
    }


def _hashable(value: Any) -> Any:
    """What strategies draw are tuples, of which JSON makes lists."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def write_trace(machine: str, name: str, trace: Trace) -> None:
    """Put one trace in its file, a step a line."""
    traces = read_traces(machine) | {name: trace}
    lines = ",\n".join(
        f" {json.dumps(each)}: [\n" + ",\n".join(f"  {json.dumps([at, v])}" for at, v in traces[each]) + "\n ]"
        for each in sorted(traces)
    )
    TRACES.mkdir(exist_ok=True)
    (TRACES / f"{machine}.json").write_text(f"{{\n{lines}\n}}\n")
