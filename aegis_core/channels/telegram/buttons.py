"""What a button says when it is pressed: a decision on one approval, as it was shown in one chat, signed.

The signature is over the tenant, the chat, the decision, and what is approved: the approval, when it was asked, the
amount, tool, arguments and target, or the plan. So a button is worth nothing in another chat, for another decision,
after an edit, or for a later request that has the same id.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Literal

from aegis_core.protocol.approvals import Approval, Decision
from aegis_core.protocol.errors import AuthError

Press = Decision | Literal["file"]
"""What a button asks for: a decision, or all of the arguments as a file."""
_DATA = re.compile(r"([arf])([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{16})", re.ASCII)
_LETTERS: dict[Press, str] = {"approve": "a", "reject": "r", "file": "f"}
_PRESSES: dict[str, Press] = {letter: press for press, letter in _LETTERS.items()}
_MAC_BYTES = 12


class Buttons:
    """Makes and reads them, for one tenant and chat. The key is derived, and of no use for anything else."""

    def __init__(self, pepper: bytes, tenant: str, chat: int) -> None:
        self._key = hmac.digest(pepper, f"aegis telegram button\0{tenant}\0{chat}".encode(), "sha256")

    def data(self, approval: Approval, decision: Press) -> str:
        """The callback data: 39 of Telegram's 64 bytes."""
        named = urlsafe_b64encode(bytes.fromhex(approval.approval_id.removeprefix("ap_"))).decode().rstrip("=")
        return _LETTERS[decision] + named + self._mac(approval, decision)

    @staticmethod
    def named(data: str) -> tuple[Press, str]:
        """Which decision, or file, on which approval a press claims to be; nothing of it is verified yet.

        Raises:
            AuthError: it is no such data.
        """
        match = _DATA.fullmatch(data)
        if match is None:
            raise AuthError("This is not a button of this bot.", code="forged_button")
        return _PRESSES[match[1]], "ap_" + urlsafe_b64decode(match[2] + "==").hex()

    def verify(self, data: str, approval: Approval) -> None:
        """Make sure that this button was made here, for this chat, and shows the approval as it is.

        Raises:
            AuthError: it was not.
        """
        decision, _ = self.named(data)
        if not hmac.compare_digest(data[-16:], self._mac(approval, decision)):
            raise AuthError(
                "This button is forged, or it shows something that has changed since.", code="forged_button"
            )

    def _mac(self, approval: Approval, decision: Press) -> str:
        shown = (
            decision, approval.approval_id, f"{approval.asked_at.timestamp():.3f}", f"{approval.amount_usd:.9f}",
            approval.tool or "", approval.arguments_hash or "", approval.target_resource or "",
            *([approval.content] if approval.plan else ()),
        )  # fmt: skip
        digest = hmac.digest(self._key, "\0".join(shown).encode(), "sha256")
        return urlsafe_b64encode(digest[:_MAC_BYTES]).decode()
