"""What nodes are asked to run, and their answers, read as strictly as any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from aegis_core.chains.quantities import data, mapping, quantity
from aegis_core.chains.transaction import EvmTransaction

Call = dict[str, Any]

_PROBER, _SCALE = "0x" + "fe" * 20, "0x" + "fd" * 20
"""Who asks for balances, and where the code that says the balance of the coin is put: no accounts of anybody."""
_RICH = hex(2**120)
_PROBE_GAS = 300_000
_MOST_FRAMES, _MOST_TOUCHED = 20_000, 64
_UINT64 = 2**64 - 1
_ANSWERS = frozenset({32, 96})
"""Bytes of one number; Permit2 says until when behind it."""
_ERROR, _PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


@dataclass(frozen=True, slots=True)
class Head:
    """The block on which something is run."""

    number: int
    time: int
    base_fee: int
    maker: str

    def probing(self, account: str) -> dict[str, Any]:
        """What is put into the state to ask for balances: a rich account, and code that reads the coin's."""
        return {_PROBER: {"balance": _RICH}, _SCALE: {"code": f"0x73{account[2:]}3160005260206000f3"}}


@dataclass(frozen=True, slots=True)
class Log:
    """What a contract logged."""

    address: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frames:
    """What a transaction touches: contracts, whether any is created, and what is logged."""

    touched: tuple[str, ...]
    creates: bool | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call did. `reason`: why it was reverted, in words."""

    success: bool
    gas: int
    returned: bytes
    reason: str | None
    logs: tuple[Log, ...]


def call_of(transaction: EvmTransaction) -> Call:
    """A transaction as nodes are asked to run it: its true sender, price and gas."""
    said: Call = {
        "from": transaction.sender, "gas": hex(transaction.gas), "value": hex(transaction.value),
        "input": "0x" + transaction.data.hex(),
    }  # fmt: skip
    if transaction.to is not None:
        said["to"] = transaction.to
    if transaction.type in {0, 1}:
        said["gasPrice"] = hex(transaction.max_fee)
    else:
        said |= {"maxFeePerGas": hex(transaction.max_fee), "maxPriorityFeePerGas": hex(transaction.priority_fee)}
    if transaction.access_list:
        said["accessList"] = [
            {"address": "0x" + address.hex(), "storageKeys": ["0x" + key.hex() for key in keys]}
            for address, keys in transaction.access_list
        ]
    return said


def probe_of(contract: str | None, method: str, *accounts: str) -> Call:
    """A question to a contract about accounts; to None: what an account has of the coin."""
    arguments = "".join(each[2:].rjust(64, "0") for each in accounts) if contract else ""
    return {
        "from": _PROBER, "to": contract or _SCALE, "gas": hex(_PROBE_GAS), "maxFeePerGas": hex(2**60),
        "maxPriorityFeePerGas": "0x0", "input": (method or "0x") + arguments,
    }  # fmt: skip


def word_of(outcome: Outcome) -> int | None:
    """The number that a question was answered with, before others; None: it was not."""
    if not outcome.success or len(outcome.returned) not in _ANSWERS:
        return None
    return int.from_bytes(outcome.returned[:32])


def read_head(answer: object) -> Head:
    """Read a block as far as calls on it need it.

    Raises:
        ValueError: a field is missing or of the wrong form.
    """
    said = mapping(answer, "block")
    return Head(
        quantity(said.get("number"), "number", most=_UINT64),
        quantity(said.get("timestamp"), "timestamp", most=_UINT64),
        quantity(said.get("baseFeePerGas"), "baseFeePerGas"), _address(said.get("miner"), "miner"),
    )  # fmt: skip


def read_calls(answer: object, sizes: tuple[int, ...]) -> tuple[tuple[Outcome, ...], ...]:
    """Read the answer to ``eth_simulateV1`` for blocks of so many calls each.

    Raises:
        ValueError: it is not of that form.
    """
    blocks = _list(answer, "eth_simulateV1")
    if len(blocks) != len(sizes):
        raise ValueError(f"eth_simulateV1 answered {len(blocks)} blocks, not {len(sizes)}")
    found: list[tuple[Outcome, ...]] = []
    for block, size in zip(blocks, sizes, strict=True):
        calls = _list(mapping(block, "block").get("calls"), "calls")
        if len(calls) != size:
            raise ValueError(f"a block of eth_simulateV1 has {len(calls)} calls, not {size}")
        found.append(tuple(map(_outcome, calls)))
    return tuple(found)


def _outcome(call: object) -> Outcome:
    said = mapping(call, "call")
    success = quantity(said.get("status"), "status", most=1) == 1
    returned = data(said.get("returnData"), "returnData")
    reason = None if success else _reason(returned, said.get("error"))
    logs = _list(said.get("logs", []), "logs")
    gas = quantity(said.get("gasUsed"), "gasUsed", most=_UINT64)
    return Outcome(success, gas, returned, reason, tuple(map(_log, logs)))


def read_frames(answer: object) -> Frames:
    """Read the answer of ``callTracer``.

    Raises:
        ValueError: it is not of that form, or larger than anything that is looked at.
    """
    touched, logs, creates = set[str](), list[Log](), False
    for frame in _frames(mapping(answer, "trace")):
        kind = frame.get("type")
        if not isinstance(kind, str):
            raise ValueError("a frame of the trace has no type")
        creates = creates or kind.startswith("CREATE")
        if frame.get("to") is not None:
            touched.add(_address(frame["to"], "to"))
        logs += map(_log, _list(frame.get("logs") or [], "logs"))
    if len(touched) > _MOST_TOUCHED:
        raise ValueError(f"the trace touches {len(touched)} contracts")
    return Frames(tuple(sorted(touched)), creates, tuple(logs))


def _frames(first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting, seen = [first], 0
    while waiting:
        frame = waiting.pop()
        seen += 1
        if seen > _MOST_FRAMES:
            raise ValueError(f"the trace has more than {_MOST_FRAMES:,} frames")
        yield frame
        waiting += [mapping(each, "frame") for each in _list(frame.get("calls") or [], "calls")]


def _log(answer: object) -> Log:
    said = mapping(answer, "log")
    topics = _list(said.get("topics", []), "topics")
    return Log(
        _address(said.get("address"), "address"),
        tuple("0x" + data(each, "topic", size=32).hex() for each in topics),
    )


def _reason(returned: bytes, error: object) -> str:
    """Why it was reverted: `Error(string)`, `Panic`, or the first bytes of an error that its contract defines."""
    if returned[:4] == _ERROR and len(returned) >= 68:
        length = int.from_bytes(returned[36:68])
        text = returned[68 : 68 + min(length, 200)].decode(errors="replace")
        return "".join(letter if letter.isprintable() else " " for letter in text) or "no reason"
    if returned[:4] == _PANIC and len(returned) == 36:
        return f"panic {int.from_bytes(returned[4:]):#x}"
    if len(returned) >= 4:
        return f"the error 0x{returned[:4].hex()} of the contract"
    message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else None
    return "".join(letter for letter in str(message)[:200] if letter.isprintable()) if message else "no reason"


def _address(value: object, name: str) -> str:
    return "0x" + data(value, name, size=20).hex()


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return cast("list[Any]", value)
