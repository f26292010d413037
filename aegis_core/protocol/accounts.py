"""Accounts of chains as operators write them: bare, or with their chain in front (CAIP-10)."""

from __future__ import annotations

import re

EVM, SOLANA, SUI = "eip155", "solana", "sui"
"""The families of chains, as CAIP-2 names them."""

_FORMS = {
    EVM: re.compile(r"(?:eip155:[1-9][0-9]{0,18}:)?0x[0-9a-f]{40}"),
    SUI: re.compile(r"(?:sui:[-_a-z0-9]{1,32}:)?0x[0-9a-f]{64}"),
}
_BASE58 = re.compile(r"(?:solana:[-_a-zA-Z0-9]{1,32}:)?[1-9A-HJ-NP-Za-km-z]{32,44}")


def account(value: str) -> str:
    """An account in the form in which it is compared: in lower case, but for base58, where case tells accounts apart.

    Raises:
        ValueError: it is none.
    """
    lower = value.lower()
    if any(form.fullmatch(lower) for form in _FORMS.values()):
        return lower
    if _BASE58.fullmatch(value):
        return value
    raise ValueError(
        f"{value!r} is no account; give 0x and 40 hexadecimal digits (64 on Sui), base58 on Solana, or with its chain "
        "eip155:143:0x…"
    )
