"""How many input tokens a chat call has at most, from its messages, and from what the provider counted before.

Bounds are those of `messages_bound`. Where the messages of an earlier, settled call are an exact prefix of a new
call's, the provider's own count replaces the bound for that prefix. A prefix is known by a chain of hashes over the
tools and every message, never by the name of a thread: a thread whose history was edited has another chain. Each
model's counts are its own, because models count differently; a call that several may answer is bounded for the one
that counts most.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from aegis_core.metering.prompt import messages_bound
from aegis_core.protocol.canonical import canonical_json, digest

KNOWN_PREFIXES = 4_096
"""Settled calls whose input counts are remembered, the least recently used leaving first; some 100 bytes each."""

Messages = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """At most so many input tokens.

    Attributes:
        tokens: the bound.
        digest: the hash of all that it was counted from, with the model where it is named.
        content: the same without the model.
        model: the model, where it is named.
    """

    tokens: int
    digest: str
    content: str = ""
    model: str | None = None


class InputBounds:
    """Bounds of calls, learning from those that settled. Safe from many threads."""

    def __init__(self, known: int = KNOWN_PREFIXES) -> None:
        self._most = known
        self._counts: OrderedDict[tuple[str, str | None], int] = OrderedDict()
        self._lock = threading.Lock()

    def estimate(
        self, messages: Messages, tools: Sequence[object] = (), model: str | None = None, models: Sequence[str] = ()
    ) -> Estimate:
        """Bound a call: the longest known prefix at the provider's count, the rest at the bound of its text.

        Args:
            messages: the whole conversation.
            tools: definitions of tools.
            model: who will answer, where that is known.
            models: or those that may answer.
        """
        chain = _chain(messages, tools)
        found = [self._longest(chain, each) for each in models or (model,)]
        if None in found:
            tokens = messages_bound(messages, tools)
        else:
            tokens = max(counted + messages_bound(messages[length:]) for length, counted in filter(None, found))
        return Estimate(tokens, digest(model or "", chain[-1]), chain[-1], model)

    def learn(self, estimate: Estimate, input_tokens: int, model: str | None = None) -> None:
        """Remember what the provider of a model counted for a call that was estimated here; default: the named one."""
        key = estimate.content, model or estimate.model
        with self._lock:
            self._counts[key] = input_tokens
            self._counts.move_to_end(key)
            if len(self._counts) > self._most:
                self._counts.popitem(last=False)

    def _longest(self, chain: list[str], model: str | None) -> tuple[int, int] | None:
        """How many messages from the first are known of a model, and as how many tokens."""
        with self._lock:
            for length in range(len(chain) - 1, 0, -1):
                counted = self._counts.get((chain[length], model))
                if counted is not None:
                    self._counts.move_to_end((chain[length], model))
                    return length, counted
        return None


def _chain(messages: Messages, tools: Sequence[object]) -> list[str]:
    """A hash for each prefix: that of the tools first, that of the whole call last."""
    state = blake2b(digest_size=16)
    state.update(canonical_json(list(tools)).encode("utf-8", "surrogatepass"))
    chain = [state.hexdigest()]
    for message in messages:
        state.update(_spelt(message))
        chain.append(state.copy().hexdigest())
    return chain


def _spelt(message: Mapping[str, object]) -> bytes:
    """A message as bytes that no other message has; most are a role and a text, for which JSON would take too long."""
    role, text = message.get("role"), message.get("content")
    if len(message) == 2 and type(role) is str and type(text) is str:
        named, said = role.encode("utf-8", "surrogatepass"), text.encode("utf-8", "surrogatepass")
        return b"\1%d:%d:%s%s" % (len(named), len(said), named, said)
    return b"\0" + canonical_json(message).encode("utf-8", "surrogatepass")
