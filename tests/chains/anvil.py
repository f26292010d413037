"""A chain of this machine: `anvil`, which runs the same virtual machine as Ethereum and makes a block when asked to."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_utils import to_checksum_address  # pyright: ignore[reportUnknownVariableType]
from fetching import ANVIL
from serving import free_port

COIN = 10**18
CHAIN = 31337
_NUMBERS = itertools.count(1)


class Anvil:
    """What a test does to the chain, beside what is under test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(trust_env=False, timeout=60)

    def rpc(self, method: str, *parameters: object) -> Any:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        answer = self._client.post(self.url, json=asked).json()
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def account(self, coins: float = 10) -> Any:
        """An account that nobody else uses."""
        made: Any = Account.from_key(os.urandom(32))
        self.rpc("anvil_setBalance", made.address, hex(int(coins * COIN)))
        return made

    def balance(self, address: str) -> int:
        return int(self.rpc("eth_getBalance", address, "latest"), 16)

    def nonce(self, address: str) -> int:
        return int(self.rpc("eth_getTransactionCount", address, "pending"), 16)

    def receipt(self, transaction: str) -> Any:
        """What became of a transaction, whose block may come a moment after it was sent."""
        while (found := self.rpc("eth_getTransactionReceipt", transaction)) is None:
            time.sleep(0.01)
        return found

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def finalize(self) -> None:
        """Everything that is in a block now cannot be undone any more."""
        self.mine(4)

    def base_fee(self, wei: int) -> None:
        """Of the next block, which is made at once."""
        self.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))
        self.mine()

    def code(self, code: str) -> str:
        """The address of a contract with this code."""
        address = to_checksum_address(f"0x{0xC0DE << 144 | next(_NUMBERS):040x}")
        self.rpc("anvil_setCode", address, code)
        return address

    def close(self) -> None:
        self._client.close()


@contextmanager
def running(*options: str, home: Path) -> Iterator[Anvil]:
    """A chain of one's own, on which each transaction makes a block, and two later blocks make it final."""
    program = ANVIL.path() / "anvil"
    port = free_port()
    command = [program, "--port", str(port), "--slots-in-an-epoch", "1", "--silent", *options]
    environment = os.environ | {"HOME": str(home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        chain = Anvil(f"http://127.0.0.1:{port}")
        try:
            until = time.monotonic() + 60
            while True:
                try:
                    chain.rpc("eth_chainId")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "anvil ended"
                    assert time.monotonic() < until, "anvil does not answer"
                    time.sleep(0.01)
            yield chain
        finally:
            chain.close()
            process.terminate()
