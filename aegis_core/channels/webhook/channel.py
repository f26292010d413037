"""Approvals posted to one URL for bridges, signed as Standard Webhooks describes (https://www.standardwebhooks.com)."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from html import escape

from pydantic import TypeAdapter

from aegis_core.channels import texts as words
from aegis_core.channels.courier import face_of
from aegis_core.observe.pace import Pace
from aegis_core.observe.posting import Poster
from aegis_core.observe.receivers import Receiver
from aegis_core.protocol.approvals import Approval

_dump = TypeAdapter(Approval).dump_python


class WebhookChannel:
    """One receiver. It gets each approval when it is asked, reminded of, changed and ended; again when it fails."""

    name = "webhook"

    def __init__(self, receiver: Receiver, *, tenant: str, pace: Pace) -> None:
        self._tenant, self._poster = tenant, Poster(receiver, timeout=pace.send)

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
        return f"{self._poster.host} accepted a test message"

    async def listen(self) -> None:
        """A webhook hears nothing: bridges decide over the HTTP API, with an operator's key."""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._poster.aclose()

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
        await self._poster.post(name, content, "application/json")


def _text(approval: Approval | None, about: str) -> str:
    """One line for bridges that show text, without the agent's own words; ``&<>`` are escaped, as Slack wants it."""
    if approval is None:
        return f"The approval {about} is over."
    head = words.TITLES["open"] if approval.status == "open" else words.outcome(approval, {})
    return escape(" · ".join([head, *(f"{name}: {text}" for name, text in words.facts(approval))]), quote=False)


def _asked(approval: Approval | None) -> str:
    return "" if approval is None else f"{approval.asked_at.timestamp():.3f}"
