"""The errors behind the answers of the scripts of transactions. Part of what `refusals` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.protocol.errors import AegisError, ConflictError

CHAIN_REFUSALS: Mapping[str, Callable[[list[Any]], AegisError]] = {
    "WATCHED": lambda _: ConflictError(
        "A transaction was sent on this grant, so its chain says what it cost; nothing changed.",
        code="transaction_sent",
    ),
    "LOCK_GONE": lambda _: ConflictError(
        "The wallet's lock was lost, so nothing was sent: another may be using it. Ask again.", code="lock_lost"
    ),
    "NONCE": lambda answer: ConflictError(
        f"A transaction of this wallet with the nonce {answer[1]} was sent already; the next is {answer[2]}. Nothing "
        "was sent. Say replaces=True where it is meant to take the place of that one.",
        code="nonce_used",
        nonce=int(answer[1]),
        next_nonce=int(answer[2]),
    ),
    "WATCHES_FULL": lambda _: ConflictError(
        "10,000 transactions of this tenant are not final yet, the most there may be; nothing was sent.",
        code="too_many_transactions",
    ),
}
