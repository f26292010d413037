"""Base58, as Solana writes accounts, signatures and hashes, and Sui digests."""

from __future__ import annotations

_LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_LETTERS)}
_MOST = 128


def encode(content: bytes) -> str:
    """Bytes as text."""
    number, letters = int.from_bytes(content), ""
    while number:
        number, value = divmod(number, 58)
        letters = _LETTERS[value] + letters
    return "1" * (len(content) - len(content.lstrip(b"\0"))) + letters


def decode_any(text: str) -> bytes:
    """Bytes out of text. It takes the longer the longer the text is, so its length is bounded by who calls.

    Raises:
        ValueError: it is not base58.
    """
    if not all(letter in _VALUES for letter in text):
        raise ValueError("is not base58")
    number = 0
    for letter in text:
        number = number * 58 + _VALUES[letter]
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def decode(text: str, size: int) -> bytes:
    """Exactly `size` bytes out of text.

    Raises:
        ValueError: it is not that.
    """
    if len(text) > _MOST:
        raise ValueError("is too long")
    found = decode_any(text)
    if len(found) != size:
        raise ValueError(f"is {len(found)} bytes in base58, not {size}")
    return found
