"""Approvals posted to one URL for bridges, signed as Standard Webhooks describes (https://www.standardwebhooks.com)."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64encode
from hashlib import sha256
from html import escape

import httpx
from pydantic import TypeAdapter

from aegis_core.channels import texts as words
from aegis_core.channels.channel import Pace
from aegis_core.channels.courier import face_of
from aegis_core.channels.webhook.settings import WebhookSettings
from aegis_core.channels.webhook.targets import resolve
from aegis_core.protocol.approvals import Approval
from aegis_core.protocol.errors import ChannelError

_dump = TypeAdapter(Approval).dump_python
_AGAIN = {408, 425, 429}


class WebhookChannel:
    """One receiver. It gets each approval when it is asked, reminded of, changed and ended; again when it fails."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings, *, tenant: str, pace: Pace) -> None:
        self._settings, self._tenant = settings, tenant
        self._url = httpx.URL(settings.url)
        self._http = httpx.AsyncClient(timeout=pace.send, follow_redirects=False, trust_env=False)

    async def announce(self, approval: Approval) -> str:
        """Post ``approval.asked``."""
        await self._post("approval.asked", approval.approval_id, approval, "asked")
        return approval.approval_id

    async def update(self, approval: Approval, ref: str) -> None:
        """Post ``approval.changed`` while it is open (a vote, an edit), else ``approval.ended``."""
        kind = "changed" if approval.status == "open" else "ended"
        await self._post(f"approval.{kind}", ref, approval, face_of(approval))

    async def remind(self, approval: Approval, ref: str) -> None:
        """Post ``approval.reminded``."""
        await self._post("approval.reminded", ref, approval, "reminded")

    async def retire(self, approval_id: str, ref: str) -> None:  # noqa: ARG002 - they are one here
        """Post ``approval.ended`` without the approval, whose record is gone."""
        await self._post("approval.ended", approval_id, None, "gone")

    async def alert(self, text: str) -> None:
        """Post ``alert``, without an approval."""
        await self._post("alert", "alert", None, str(time.time_ns()), escape(text, quote=False))

    async def test(self) -> str:
        """Post ``test``."""
        await self._post("test", "test", None, str(time.time_ns()))
        return f"{self._url.host} accepted a test message"

    async def listen(self) -> None:
        """A webhook hears nothing: bridges decide over the HTTP API, with an operator's key."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(self, kind: str, about: str, approval: Approval | None, face: str, text: str = "") -> None:
        message: dict[str, object] = {
            "type": kind,
            "tenant": self._tenant,
            "approval_id": about,
            "text": text or ("A test message of Aegis." if kind == "test" else _text(approval, about)),
            "approval": None if approval is None else _dump(approval, mode="json"),
        }
        content = json.dumps(message).encode()
        # The same news has the same id however often it is sent, so that a receiver can tell.
        name = sha256(f"{self._tenant}\0{about}\0{kind}\0{face}\0{_asked(approval)}".encode()).hexdigest()[:32]
        await self._send(content, {"Content-Type": "application/json", **signed(self._settings.key, name, content)})

    async def _send(self, content: bytes, headers: dict[str, str]) -> None:
        host = self._url.host
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        address = await resolve(host, port, allow_private=self._settings.allow_private)
        # The certificate is still judged by the name; only the way to it is fixed.
        headers["Host"] = self._url.netloc.decode("ascii")
        try:
            answer = await self._http.post(
                self._url.copy_with(host=address), content=content, headers=headers, extensions={"sni_hostname": host}
            )
        except httpx.HTTPError as error:
            raise ChannelError(f"{host} cannot be reached ({type(error).__name__})") from None
        if answer.is_success:
            return
        if answer.is_redirect:
            raise ChannelError(f"{host} answers with a redirect, which is not followed")
        wait = answer.headers.get("Retry-After", "")
        everything = answer.status_code >= 500 or answer.status_code in _AGAIN
        raise ChannelError(
            f"{host} answers {answer.status_code}",
            retry_after=float(wait) if wait.isdecimal() else 0,
            everything=everything,
        )


def signed(key: bytes, name: str, content: bytes, at: int | None = None) -> dict[str, str]:
    """The headers that prove who sent a message and when: HMAC-SHA256 over ``id.timestamp.body``."""
    stamp = str(int(time.time()) if at is None else at)
    digest = hmac.digest(key, f"{name}.{stamp}.".encode() + content, "sha256")
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": "v1," + b64encode(digest).decode()}


def _text(approval: Approval | None, about: str) -> str:
    """One line for bridges that show text, without the agent's own words; ``&<>`` are escaped, as Slack wants it."""
    if approval is None:
        return f"The approval {about} is over."
    head = words.TITLES["open"] if approval.status == "open" else words.outcome(approval, {})
    return escape(" · ".join([head, *(f"{name}: {text}" for name, text in words.facts(approval))]), quote=False)


def _asked(approval: Approval | None) -> str:
    return "" if approval is None else f"{approval.asked_at.timestamp():.3f}"
