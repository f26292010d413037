"""JSONL: one run of an agent a line, as the messages between user, model and tools.

Every assistant message is one call of a model, whose prompt is everything before it; every tool call in it is a
request of its own. Where a message has no ``usage``, its tokens are estimated from its UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import TypeVar, cast

from aegis_core.metering.tokens import input_bound
from aegis_core.protocol.fields import MAX_INTENT, identifier
from aegis_core.protocol.parsing import loads
from aegis_core.replay import values
from aegis_core.replay.trace import DEFAULT_AGENT, Call, Reading, lines_of, shown

BYTES_PER_TOKEN = 4
START_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC: when the first run begins in a file that tells no times."""

STEP_MS, GAP_MS = 1_000, 60_000
"""Between two requests of a run, and between the end of a run and the next one, where the file tells no times."""

_MESSAGES = ("steps", "messages")
_OPENING = "Begin a conversation"
_NO_USAGE = (
    f"Tokens are estimated, because messages hold no usage: UTF-8 bytes / {BYTES_PER_TOKEN}, rounded up, of all "
    "messages before an answer (input) and of the answer (output). System prompts and tool definitions that the file "
    "leaves out are not counted. Reservations use the strict bound, bytes / 2."
)
_NO_TIMES = (
    "The file tells no times: requests of a run are put one second apart, and a run begins one minute after the last "
    "one ended, the first at 2026-01-01 00:00 UTC."
)
_NO_AGENTS = f"The file names no agents: every run is a session of one agent, {DEFAULT_AGENT}."
_INTENTS = "The policy judges a model call by the user's latest message, a tool call by its name and arguments."
_T = TypeVar("_T")
_Object = dict[str, object]


class _Notes:
    """What the file left out anywhere, and the time that has been reached."""

    def __init__(self) -> None:
        self.without_usage = self.without_times = self.without_agents = False
        self.next_run = START_MS


def read_jsonl(text: str, reading: Reading) -> None:
    """Read all runs.

    Raises:
        InvalidRequestError: a line that is not JSON, or not a run; names line and field.
    """
    notes = _Notes()
    reading.gather(partial(_run, line, number, reading, notes) for number, line in lines_of(text))
    told = (
        (notes.without_agents, _NO_AGENTS),
        (True, _INTENTS),
        (notes.without_usage, _NO_USAGE),
        (notes.without_times, _NO_TIMES),
    )
    reading.notes += [note for applies, note in told if applies]


def _run(line: str, number: int, reading: Reading, notes: _Notes) -> list[Call]:
    try:
        content = loads(line)
    except json.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise reading.refuse(number, f"column {error.colno}", problem) from None
    except (ValueError, RecursionError):
        raise reading.refuse(number, "", "is not JSON that can be read: nested too deeply, or a huge number") from None
    return _LineReader(content, number, reading, notes).calls()


class _LineReader:
    """One line on its way to calls."""

    def __init__(self, content: object, number: int, reading: Reading, notes: _Notes) -> None:
        self._number, self._reading, self._notes = number, reading, notes
        self._content = self._object(content, "", "a JSON object")
        agent = self._optional(self._content, values.AGENT, values.name, "")
        notes.without_agents |= agent is None
        self._agent = agent or DEFAULT_AGENT
        self._model = self._optional(self._content, values.MODEL, values.name, "")
        start = self._optional(self._content, values.TIME, values.milliseconds, "")
        self._at = notes.next_run if start is None else start
        self._timed = start is not None
        self._outcome = self._optional(self._content, values.OUTCOME, values.outcome, "")
        self._prompt_bytes = 0
        self._intent = _OPENING

    def calls(self) -> list[Call]:
        """All requests of the run, in order."""
        name = next((name for name in _MESSAGES if name in self._content), None)
        if name is None:
            found = ", ".join(shown(key) for key in list(self._content)[:12]) or "nothing"
            raise self._refuse("", f"found {found}; expected a list of messages under steps or messages")
        calls: list[Call] = []
        unanswered: list[int] = []
        for place, entry in enumerate(self._list(self._content[name], name, "a list of messages")):
            where = f"{name}[{place}]"
            message = self._object(entry, where, "a message object")
            role = self._str(message.get("role"), f"{where}.role", "text: user, assistant, tool or system")
            text = self._text(message, where)
            tools = [
                self._tool(tool, f"{where}.tool_calls[{n}]") for n, tool in enumerate(self._tool_calls(message, where))
            ]
            size = len(_bytes(text)) + sum(len(_bytes(tool + arguments)) for tool, arguments in tools)
            when = self._optional(message, values.TIME, values.milliseconds, where)
            if when is not None:
                self._at, self._timed = when, True
            if role == "assistant":
                calls.append(self._answer(message, where, size))
                unanswered = list(range(len(calls), len(calls) + len(tools)))
                calls += [self._tool_call(tool, arguments) for tool, arguments in tools]
            elif role == "tool" and unanswered:
                at = unanswered.pop(0)
                calls[at] = replace(calls[at], error=_error(message, text))
            elif role == "user" and text.strip():
                self._intent = _cut(text)
            self._prompt_bytes += size
        if not calls:
            raise self._refuse(name, "holds no assistant message, so nothing was asked of a model")
        self._judge(calls)
        self._notes.without_times |= not self._timed
        self._notes.next_run = max(self._notes.next_run, self._at - STEP_MS + GAP_MS)
        return calls

    def _judge(self, calls: list[Call]) -> None:
        """The outcome of the run is that of its last call of a model."""
        at = max(place for place, call in enumerate(calls) if call.tool is None)
        calls[at] = replace(calls[at], outcome=self._outcome)

    def _answer(self, message: _Object, where: str, size: int) -> Call:
        used, given = self._usage(message, f"{where}.usage")
        if used is None or given is None:
            self._notes.without_usage = True
            used, given = -(-self._prompt_bytes // BYTES_PER_TOKEN), -(-size // BYTES_PER_TOKEN)
            bound, most = input_bound(self._prompt_bytes), input_bound(size)
        else:
            bound, most = used, given
        return Call(
            self._tick(), self._agent, self._name(), self._number, self._intent,
            model=self._optional(message, values.MODEL, values.name, where) or self._model,
            input_tokens=used, output_tokens=given, prompt_tokens=bound, max_output_tokens=most,
        )  # fmt: skip

    def _tool_call(self, tool: str, arguments: str) -> Call:
        return Call(
            self._tick(), self._agent, self._name(), self._number, _cut(f"{tool} {arguments}"),
            tool=tool, arguments_hash=blake2b(_bytes(arguments), digest_size=16).hexdigest(), target=_target(arguments),
        )  # fmt: skip

    def _name(self) -> str:
        return f"run-{self._number:04d}"

    def _tick(self) -> int:
        at = self._at
        self._at += STEP_MS
        return at

    def _text(self, message: _Object, where: str) -> str:
        content = message.get("content")
        if content is None or isinstance(content, str):
            return content or ""
        parts = self._list(content, f"{where}.content", "text, null or a list of parts")
        return "\n".join(_part(part) for part in parts)

    def _tool_calls(self, message: _Object, where: str) -> list[object]:
        return self._list(message.get("tool_calls") or [], f"{where}.tool_calls", "a list of tool calls")

    def _tool(self, entry: object, where: str) -> tuple[str, str]:
        """Name and canonical arguments, in the flat form or in that of OpenAI (``function``)."""
        fields = self._object(entry, where, "an object with name and arguments")
        if "function" in fields:
            fields, where = (
                self._object(fields["function"], f"{where}.function", "an object"),
                f"{where}.function",
            )
        raw_name = self._str(fields.get("name"), f"{where}.name", "the tool's name as text")
        tool = self._parse(raw_name, values.name, f"{where}.name")
        arguments = fields.get("arguments", {})
        return tool, arguments if isinstance(arguments, str) else json.dumps(
            arguments, sort_keys=True, ensure_ascii=False
        )

    def _usage(self, message: _Object, where: str) -> tuple[int | None, int | None]:
        usage = message.get("usage")
        if usage is None:
            return None, None
        fields = self._object(usage, where, "an object with input_tokens and output_tokens")
        used = self._optional(fields, values.INPUT, values.tokens, where)
        return used, self._optional(fields, values.OUTPUT, values.tokens, where)

    def _optional(
        self, fields: _Object, aliases: tuple[str, ...], parse: Callable[[object], _T], where: str
    ) -> _T | None:
        for key, value in _matching(fields, aliases):
            if value is not None and value != "":
                return self._parse(value, parse, f"{where}.{key}".removeprefix("."))
        return None

    def _parse(self, value: object, parse: Callable[[object], _T], where: str) -> _T:
        try:
            return parse(value)
        except ValueError as error:
            raise self._refuse(where, str(error)) from None

    def _object(self, value: object, where: str, expected: str) -> _Object:
        if not isinstance(value, dict):
            raise self._refuse(where, f"{shown(value)} was found; expected {expected}")
        return cast("_Object", value)

    def _list(self, value: object, where: str, expected: str) -> list[object]:
        if not isinstance(value, list):
            raise self._refuse(where, f"{shown(value)} was found; expected {expected}")
        return cast("list[object]", value)

    def _str(self, value: object, where: str, expected: str) -> str:
        if not isinstance(value, str):
            raise self._refuse(where, f"{shown(value)} was found; expected {expected}")
        return value

    def _refuse(self, where: str, problem: str) -> Exception:
        return self._reading.refuse(self._number, where, problem)


def _matching(fields: _Object, aliases: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    plain = {values.plain(key): key for key in fields}
    for alias in aliases:
        if alias in plain:
            yield plain[alias], fields[plain[alias]]


def _part(part: object) -> str:
    """The text of a part of a message; an image has none."""
    if isinstance(part, dict):
        part = cast("_Object", part).get("text")
    return part if isinstance(part, str) else ""


def _error(message: _Object, text: str) -> str | None:
    """What a tool answered with, where it says itself that it failed."""
    failed = message.get("is_error") is True or message.get("status") == "error"
    return "tool_error" if failed or text.lstrip()[:5].lower() == "error" else None


def _target(arguments: str) -> str | None:
    """What a tool works on: the first argument whose name ends in ``id``, if it can be a name."""
    try:
        fields = loads(arguments)
    except (ValueError, RecursionError):
        return None
    pairs = cast("_Object", fields).items() if isinstance(fields, dict) else ()
    value = next((value for key, value in pairs if key.lower().endswith("id") and isinstance(value, str)), "")
    try:
        return identifier(value)
    except ValueError:
        return None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _cut(text: str) -> str:
    """An intent longer than the protocol admits loses its end; surrogates, which are not text, are shown as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_INTENT else text[: MAX_INTENT - 1] + "…"
