"""Telegram's Bot API on loopback, as far as a bot of ours uses it: real HTTP, and people who press and write."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qsl

import httpx

TOKEN = "123456:AAbbCCddEEffGGhhIIjjKKllMMnnOOpp-_0"
CHAT, ANA, BOB, STRANGER = -1001234567890, 11, 22, 666
BOT = {"id": 123456, "is_bot": True, "first_name": "Aegis", "username": "aegis_test_bot"}
WAIT = 90.0


@dataclass
class Sent:
    """A message that the bot sent, as it stands."""

    id: int
    chat: int
    text: str
    buttons: dict[str, str]
    silent: bool = False
    reply_to: int | None = None
    edits: int = 0
    file: str = ""
    topic: int | None = None


@dataclass
class BotApi:
    """The server's state. Everything is guarded by `changed`, which is notified of every call."""

    url: str = ""
    messages: dict[int, Sent] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, float]] = field(default_factory=list)
    webhook: dict[str, str] = field(default_factory=dict)
    forward_to: str = ""
    down: bool = False
    throttled: deque[int] = field(default_factory=deque)
    refused: dict[str, str] = field(default_factory=dict)
    deaf: tuple[int, str] | None = None
    deleted: set[int] = field(default_factory=set)
    updates: list[dict[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    last_id: int = 100

    def until(self, told: Callable[[], Any], what: str = "") -> Any:
        """Wait until something holds, and answer it."""
        deadline = time.monotonic() + WAIT
        with self.changed:
            while not (found := told()):
                if not self.changed.wait(min(0.1, deadline - time.monotonic())) and time.monotonic() > deadline:
                    raise AssertionError(f"{what or told}: never; {list(self.messages.values())}, {self.answers}")
            return found

    def announced(self, number: int = 1) -> Sent:
        """The so-manieth message with buttons that the bot ever sent."""

        def look() -> Sent | None:
            found = [one for one in self.messages.values() if "APPROVE" in one.buttons or one.edits]
            return found[number - 1] if len(found) >= number else None

        return self.until(look, f"announcement {number}")

    def shows(self, message: Sent, *pieces: str) -> str:
        """Wait until a message says all of that; answers its text."""
        return self.until(lambda: all(piece in message.text for piece in pieces) and message.text, str(pieces))

    def press(self, message: Sent, label: str, user: int = ANA, *, data: str | None = None, chat: int = CHAT) -> str:
        """Press a button; answers what the bot says to that, once it does."""
        query = self.pressed(message, label, user, data=data, chat=chat)
        self.until(lambda: query in self.answers, "an answer to the press")
        return self.answers[query]

    def pressed(self, message: Sent, label: str, user: int = ANA, *, data: str | None = None, chat: int = CHAT) -> str:
        """Press a button and do not wait; answers the query's id."""
        query = f"q{self._next()}"
        about = {"message_id": message.id, "date": 1, "chat": _chat(chat), "text": message.text, "from": BOT}
        said = message.buttons[label] if data is None else data
        self.push({"callback_query": {
            "id": query, "from": _user(user), "message": about, "chat_instance": "1", "data": said,
        }})  # fmt: skip
        return query

    def write(self, text: str, user: int = ANA, *, chat: int = CHAT, reply_to: Sent | None = None) -> int:
        """Write into a chat; answers the message's id."""
        number = self._next()
        message: dict[str, Any] = {
            "message_id": number, "date": 1, "chat": _chat(chat), "from": _user(user), "text": text,
        }  # fmt: skip
        if text.startswith("/"):
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
        if reply_to is not None:
            message["reply_to_message"] = {
                "message_id": reply_to.id, "date": 1, "chat": _chat(chat), "from": BOT, "text": reply_to.text,
            }  # fmt: skip
        self.push({"message": message})
        return number

    def reply(self, number: int) -> str:
        """What the bot replied to a message, once it does."""
        found = self.until(lambda: [one for one in self.messages.values() if one.reply_to == number], "a reply")
        return found[0].text

    def push(self, update: dict[str, Any], secret: str | None = None) -> httpx.Response | None:
        """Hand an update to the bot: it fetches it, or it is posted where the webhook leads."""
        with self.changed:
            update = {"update_id": self._next(), **update}
            if not self.webhook.get("url"):
                self.updates.append(update)
                self.changed.notify_all()
                return None
        shown = self.webhook["secret_token"] if secret is None else secret
        headers = {"X-Telegram-Bot-Api-Secret-Token": shown} if shown else {}
        return httpx.post(self.forward_to, json=update, headers=headers, trust_env=False, timeout=WAIT)

    def _next(self) -> int:
        with self.changed:
            self.last_id += 1
            return self.last_id

    def carry_out(self, method: str, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """One call of the API."""
        with self.changed:
            self.calls.append((method, time.monotonic()))
            self.changed.notify_all()
            if self.down:
                return 502, {"ok": False, "error_code": 502, "description": "Bad Gateway"}
            if self.throttled and method in {"sendMessage", "editMessageText"}:
                wait = self.throttled.popleft()
                text = f"Too Many Requests: retry after {wait}"
                return 429, {"ok": False, "error_code": 429, "description": text, "parameters": {"retry_after": wait}}
            if self.deaf and method == "getUpdates":
                return self._told_off()
            for piece, text in self.refused.items():
                if piece in given.get("text", ""):
                    return 400, {"ok": False, "error_code": 400, "description": f"Bad Request: {text}"}
            if missing := self._missing(method, given):
                return 400, {"ok": False, "error_code": 400, "description": f"Bad Request: {missing}"}
            result = getattr(self, f"_on_{method.lower()}")(given)
            if self.deaf and method == "getUpdates":  # another poller came while this one waited
                return self._told_off()
            self.changed.notify_all()
            return 200, {"ok": True, "result": result}

    def _missing(self, method: str, given: dict[str, str]) -> str:
        if method == "editMessageText" and int(given["message_id"]) in self.deleted:
            return "message to edit not found"
        reply = json.loads(given.get("reply_parameters", "{}"))
        gone = reply.get("message_id") in self.deleted and not reply.get("allow_sending_without_reply")
        return "message to be replied not found" if gone else ""

    def _told_off(self) -> tuple[int, dict[str, Any]]:
        assert self.deaf
        code, text = self.deaf
        return code, {"ok": False, "error_code": code, "description": text}

    def _on_getme(self, _: dict[str, str]) -> Any:
        return BOT

    def _on_deletewebhook(self, _: dict[str, str]) -> Any:
        self.webhook = {}
        return True

    def _on_setwebhook(self, given: dict[str, str]) -> Any:
        self.webhook = given
        return True

    def _on_getupdates(self, given: dict[str, str]) -> Any:
        offset, until = int(given.get("offset", 0)), time.monotonic() + float(given.get("timeout", 0))
        while True:
            self.updates = [one for one in self.updates if one["update_id"] >= offset]
            left = until - time.monotonic()
            if self.updates or left <= 0 or self.down or self.deaf:
                return self.updates
            self.changed.wait(min(left, 0.2))

    def _on_sendmessage(self, given: dict[str, str]) -> Any:
        reply = json.loads(given.get("reply_parameters", "{}")).get("message_id")
        self.last_id += 1
        sent = Sent(
            self.last_id, int(given["chat_id"]), given["text"], _buttons(given),
            given.get("disable_notification") == "true", reply,
            topic=int(given["message_thread_id"]) if "message_thread_id" in given else None,
        )  # fmt: skip
        self.messages[sent.id] = sent
        return _message(sent)

    def _on_senddocument(self, given: dict[str, str]) -> Any:
        reply = json.loads(given.get("reply_parameters", "{}")).get("message_id")
        self.last_id += 1
        sent = Sent(self.last_id, int(given["chat_id"]), "", {}, reply_to=reply, file=given["document"])
        self.messages[sent.id] = sent
        return _message(sent)

    def _on_editmessagetext(self, given: dict[str, str]) -> Any:
        sent = self.messages[int(given["message_id"])]
        assert sent.chat == int(given["chat_id"])
        sent.text, sent.buttons, sent.edits = given["text"], _buttons(given), sent.edits + 1
        return _message(sent)

    def _on_answercallbackquery(self, given: dict[str, str]) -> Any:
        self.answers[given["callback_query_id"]] = given.get("text", "")
        return True


def _buttons(given: dict[str, str]) -> dict[str, str]:
    rows = json.loads(given.get("reply_markup", "{}")).get("inline_keyboard", [])
    for row in rows:
        for button in row:
            assert 1 <= len(button["callback_data"].encode()) <= 64
    return {button["text"]: button["callback_data"] for row in rows for button in row}


def _chunks(stream: BufferedIOBase) -> bytes:
    """A body whose length is not said before it."""
    found = b""
    while size := int(stream.readline(), 16):
        found += stream.read(size)
        stream.readline()
    stream.readline()
    return found


def _parts(kind: str, body: str) -> dict[str, str]:
    """The fields of a form with a file in it; the file's text under the field that names it."""
    parsed = message_from_string(f"Content-Type: {kind}\n\n{body}")
    found: dict[str, str] = {}
    for part in parsed.walk():
        if not part.is_multipart():
            name = part.get_param("name", header="content-disposition")
            found[str(name)] = str(part.get_payload())
    attached = found["document"].removeprefix("attach://")
    return found | {"document": found.get(attached, "")}


def _message(sent: Sent) -> dict[str, Any]:
    return {"message_id": sent.id, "date": 1, "chat": _chat(sent.chat), "from": BOT, "text": sent.text}


def _chat(number: int) -> dict[str, Any]:
    return {"id": number, "type": "private" if number > 0 else "supergroup", "title": "Operators"}


def _user(number: int) -> dict[str, Any]:
    return {"id": number, "is_bot": False, "first_name": f"User {number}"}


@contextmanager
def bot_api() -> Iterator[BotApi]:
    """Serve until the block ends."""
    api = BotApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = (_chunks(self.rfile) if "Transfer-Encoding" in self.headers else self._whole()).decode()
            _, token, method = self.path.split("/")
            kind = self.headers.get("Content-Type", "")
            given = _parts(kind, body) if "multipart" in kind else dict(parse_qsl(body, keep_blank_values=True))
            if token == f"bot{TOKEN}":
                status, answer = api.carry_out(method, given)
            else:
                status, answer = 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
            content = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the bot hung up on a long poll
                self.close_connection = True

        def _whole(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.down = True
        server.shutdown()
        server.server_close()
        thread.join(5)
