"""What is said to a request, whichever provider it was sent to: the shortest answer that does what was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]


class RefusedError(Exception):
    """A request that its provider does not take like this."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param = status, param


@dataclass(frozen=True)
class Asked:
    """A request, as far as an answer depends on it.

    Attributes:
        model: the name that was asked for.
        text: the last words of the user.
        tools: the tools that may be called, by name.
        forced: whether a tool must be called; a name: this one.
        schema: what the answer must be; an empty one: any JSON.
        answered: whether the last message is a tool's result.
        cap: tokens of the answer at most.
        streams: whether it comes in pieces. counts: whether these end with the usage.
        body: all of it.
    """

    model: str
    text: str
    tools: Mapping[str, Schema] = field(default_factory=dict)
    forced: bool | str = False
    schema: Schema | None = None
    answered: bool = False
    cap: int | None = None
    streams: bool = False
    counts: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        text: what it says.
        calls: the tools that it calls, by name with arguments.
        sent: input tokens; default: by the length of the request. Of them `cached` were read from a cache and `written`
            to it.
        made: output tokens; default: by the length of the answer. `thoughts` are added to them.
        seconds: how long it takes.
        status: an HTTP status instead of an answer.
        version: the name under which its model answers; default: that which was asked for.
    """

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    sent: int | None = None
    cached: int = 0
    written: int = 0
    made: int | None = None
    thoughts: int = 0
    seconds: float = 0.0
    status: int = 200
    version: str = ""


@dataclass(frozen=True)
class Bill:
    """What one answer is charged for."""

    number: int
    model: str
    sent: int
    made: int
    cached: int
    written: int
    thoughts: int
    cap: int | None

    @classmethod
    def of(cls, asked: Asked, said: Said, number: int) -> Bill:
        """Count it."""
        words = len(said.text.split()) + sum(len(json.dumps(dict(call))) for _, call in said.calls) // 4
        made = (said.made if said.made is not None else max(1, words)) + said.thoughts
        sent = said.sent if said.sent is not None else 1 + len(json.dumps(asked.body)) // 16
        made = made if asked.cap is None else min(made, asked.cap)
        return cls(number, asked.model, sent, made, said.cached, said.written, min(said.thoughts, made), asked.cap)


def obedient(asked: Asked) -> Said:
    """Call the tool that must or should be called, give the JSON that is wanted, or say a word."""
    name = asked.forced if isinstance(asked.forced, str) else next(_meant(asked), None)
    if name is not None:
        return Said(calls=((name, sample(asked.tools[name], asked.text)),))
    if asked.schema is not None:
        wanted = re.findall(r"'(\w+)'", asked.text)
        value = sample(asked.schema, asked.text) if asked.schema else dict.fromkeys(wanted, "a cat")
        return Said(json.dumps(value))
    return Said("Hello there, all is well.")


def _meant(asked: Asked) -> Any:
    if asked.answered and not asked.forced:
        return
    for name in asked.tools:
        words = [word for word in name.lower().split("_") if len(word) > 2]
        if any(word in asked.text.lower() for word in words):
            yield name
    if asked.forced:
        yield from asked.tools


def sample(schema: Schema, text: str, root: Schema | None = None) -> Any:
    """A value of a JSON schema, with the numbers and the quoted words of the text where it wants some."""
    root = root or schema
    if "$ref" in schema:
        for step in schema["$ref"].removeprefix("#/").split("/"):
            root = root[step]
        return sample(root, text, root)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return sample(schema[choice][0], text, root)
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type", "object")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    numbers = re.findall(r"\d+", text)
    quoted = re.findall(r"'([^']+)'", text)
    if kind == "object":
        return {name: sample(each, text, root) for name, each in (schema.get("properties") or {}).items()}
    values = {
        "array": [sample(schema["items"], text, root)] if "items" in schema else [],
        "integer": int(numbers[0]) if numbers else 1,
        "number": float(numbers[0]) if numbers else 1.5,
        "boolean": True,
        "null": None,
    }
    return values.get(kind, quoted[0] if quoted else "some words")


def text_of(content: Any) -> str:
    """The words of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content or () if isinstance(part, dict)]
    return " ".join(part for part in parts if isinstance(part, str))


def pieces(text: str) -> list[str]:
    """A text as a stream brings it: word by word."""
    return re.findall(r"\S+\s*", text)
