"""What a test of the contract needs of a framework, so that what a framework cannot have is not collected at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aegis_core.testing.scripts import Harness, Mode

_Test = TypeVar("_Test", bound=Callable[..., object])
_NAME = "contract_demand"

CAPABILITIES = {
    "retries": "the framework makes a failed call again when it is told to",
    "fallbacks": "a program can name a model that stands in where another one fails",
    "cache": "the framework answers a repeated call of a model from a cache of its own",
    "nesting": "one governed agent runs as a part of another",
    "routing": "the adapter can exchange the model",
    "caps": "the adapter sends the cap of an answer with the call",
    "structured_output": "an answer can be asked for in a shape",
    "copying": "what is governed can be copied deeply",
    "pickling": "what is governed can be pickled",
    "forking": "the framework works on in a forked child",
    "tools": "the adapter stands before tools",
    "tool_denial_as_text": "a refused tool call is told to the model, which goes on",
    "tool_errors": "an error that a tool raises passes the adapter",
    "approvals": "a tool call can wait for a person",
    "locks": "a tool call can hold a lock",
    "async_fence": "a tool of an asynchronous run finds the fence of its lock",
    "cancelled_at_once": "a cancelled call is heard of, and does not end by its deadline only",
    "abandoned_at_once": "an abandoned stream has ended when the program goes on",
}
"""The names of `Harness.lacks`, beside those of the modes."""


@dataclass(frozen=True)
class Demand:
    """What one test needs: every one of `capabilities`, and each (or with `first` one) of `modes` that there is."""

    capabilities: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    first: bool = False

    def modes_of(self, harness: Harness) -> list[Mode]:
        """Those in which the test runs."""
        found: list[Mode] = [mode for mode in self.modes if mode in harness.modes]
        return found[:1] if self.first else found

    def is_met_by(self, harness: Harness) -> bool:
        """Whether the test can run at all."""
        lacking = any(name in harness.lacks for name in self.capabilities)
        return not lacking and (not self.modes or bool(self.modes_of(harness)))


def needs(*capabilities: str) -> Callable[[_Test], _Test]:
    """A test of what a framework may lack."""
    unknown = set(capabilities) - set(CAPABILITIES)
    assert not unknown, unknown
    return _demanding(capabilities=capabilities)


def in_each(*modes: Mode) -> Callable[[_Test], _Test]:
    """A test that runs once in each of these modes that the framework has; its parameter is ``mode``."""
    return _demanding(modes=modes)


def in_first(*modes: Mode) -> Callable[[_Test], _Test]:
    """A test that runs in the first of these modes that the framework has; its parameter is ``mode``."""
    return _demanding(modes=modes, first=True)


def demand_of(test: object) -> Demand:
    """What a test needs."""
    found: object = getattr(test, _NAME, None)
    return found if isinstance(found, Demand) else Demand()


def _demanding(**more: Any) -> Callable[[_Test], _Test]:
    def mark(test: _Test) -> _Test:
        before = demand_of(test)
        setattr(test, _NAME, Demand(**{**before.__dict__, **more}))
        return test

    return mark
