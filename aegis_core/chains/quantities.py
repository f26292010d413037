"""Numbers and bytes as nodes write them: hexadecimal text in its only right form, and nothing that looks like it."""

from __future__ import annotations

import re
from typing import Any

from aegis_core.protocol.errors import InvalidRequestError

WORD = 2**256 - 1
"""The largest number of the virtual machine."""
JUDGED = 2**53 - 1
"""The largest gas price that scripts can judge exactly. A larger one is a broken answer."""

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_MINT = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_SHORT = re.compile(r"\b0x([0-9a-fA-F]{1,64})(?=::)")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def quantity(value: object, name: str, *, most: int = WORD) -> int:
    """Read a number such as ``0x5208``.

    Raises:
        ValueError: anything else: a decimal, a JSON number, a sign, a leading zero, one above `most`.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ValueError(f"{name} is {_shown(value)}, not a hexadecimal number such as 0x5208")
    number = int(value, 16)
    if number > most:
        raise ValueError(f"{name} is {_shown(value)}, above {most:#x}")
    return number


def data(value: object, name: str, *, size: int | None = None) -> bytes:
    """Read bytes such as ``0xdeadbeef``, exactly `size` of them where that is given.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, str) or not _BYTES.fullmatch(value):
        raise ValueError(f"{name} is {_shown(value)}, not hexadecimal bytes such as 0xdeadbeef")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError(f"{name} has {len(found)} bytes, not {size}")
    return found


def mapping(value: object, name: str) -> dict[str, Any]:
    """Read an object.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}, not an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def address(value: str, field: str) -> str:
    """An address in lower case. One that mixes upper and lower case must carry its checksum (EIP-55).

    Raises:
        InvalidRequestError: not 20 hexadecimal bytes, or a letter was mistyped.
    """
    if not _ADDRESS.fullmatch(value):
        problem = f"{_shown(value)} is not an address: 0x and 40 hexadecimal digits"
        raise InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)
    letters = value[2:]
    if letters not in {letters.lower(), letters.upper()} and value != checksummed(value):
        problem = f"{value} has a wrong checksum, so it was mistyped; the right one would be {checksummed(value)}"
        raise InvalidRequestError(f"{field}: {problem}", field=field, problem=problem)
    return value.lower()


def asset(value: str) -> str:
    """What names a token: the address of its contract, on Solana its mint, on Sui its type of coin (``0x2::sui::SUI``),
    whose addresses are written out.

    Raises:
        InvalidRequestError: none of these.
    """
    if _MINT.fullmatch(value):
        return value
    return coin_type(value) if "::" in value else address(value, "address")


def coin_type(value: str) -> str:
    """A type of Move with every address of 64 digits, so that equal types are equal texts."""
    return _SHORT.sub(lambda found: f"0x{found[1].lower():0>64}", "".join(value.split()))


def checksummed(value: str) -> str:
    """An address with the upper and lower case letters of EIP-55."""
    from aegis_core.chains.hashing import keccak

    letters = value[2:].lower()
    digits = keccak(letters.encode()).hex()
    return "0x" + "".join(
        letter.upper() if digit >= "8" else letter for letter, digit in zip(letters, digits, strict=False)
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
