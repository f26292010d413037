"""Contracts to trade with, on a chain of a test, and calls of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anvil import COIN, Anvil
from eth_abi import encode  # pyright: ignore[reportPrivateImportUsage]
from eth_utils import keccak, to_checksum_address  # pyright: ignore[reportUnknownVariableType, reportPrivateImportUsage]
from fetching import CONTRACTS
from signing import GWEI, fields

LATEST = 2**63


def call(method: str, *values: Any) -> str:
    """The data of a call: ``call("transfer(address,uint256)", to, 1)``."""
    kinds = [kind for kind in method.partition("(")[2].rstrip(")").split(",") if kind]
    return "0x" + (bytes(keccak(text=method))[:4] + encode(kinds, values)).hex()


@dataclass
class Deployer:
    """Puts contracts on the chain, and calls them past any governor."""

    anvil: Anvil
    account: Any

    def deploy(self, name: str) -> str:
        code = (CONTRACTS.path() / f"Trading_sol_{name}.bin").read_text()
        made = self._sent(to="", data="0x" + code)["contractAddress"]
        return str(to_checksum_address(made))

    def do(self, contract: str, method: str, *values: Any, account: Any = None) -> None:
        self._sent(account, to=contract, data=call(method, *values))

    def ask(self, contract: str, method: str, *values: Any) -> int:
        return int(self.anvil.rpc("eth_call", {"to": contract, "data": call(method, *values)}, "latest"), 16)

    def _sent(self, account: Any = None, **said: Any) -> Any:
        by = account or self.account
        raw = by.sign_transaction(
            fields(2, nonce=self.anvil.nonce(by.address), value=0, gas=3_000_000, maxFeePerGas=500 * GWEI, **said)
        ).raw_transaction
        name = self.anvil.rpc("eth_sendRawTransaction", "0x" + bytes(raw).hex())
        receipt = self.anvil.receipt(name)
        assert receipt["status"] == "0x1", said
        return receipt


@dataclass
class Market:
    """100,000 of one token and 200,000 of another in a market that keeps their product; A is sold, and B is bought."""

    deployer: Deployer
    sold: str
    bought: str
    address: str

    @classmethod
    def open(cls, anvil: Anvil) -> Market:
        deployer = Deployer(anvil, anvil.account(100))
        sold, bought, address = (deployer.deploy(name) for name in ("Token", "Token", "Market"))
        for token, amount in ((sold, 100_000), (bought, 200_000)):
            deployer.do(token, "mint(address,uint256)", address, amount * COIN)
        return cls(deployer, sold, bought, address)

    def formula(self, amount: int) -> int:
        """What comes out for so much."""
        have, give = (
            self.deployer.ask(token, "balanceOf(address)", self.address) for token in (self.sold, self.bought)
        )
        return amount * 997 * give // (have * 1000 + amount * 997)

    def fund(self, account: Any, amount: int, allowed: int | None = None) -> None:
        """Give an account so much to sell, and let it allow the market to take that."""
        self.deployer.do(self.sold, "mint(address,uint256)", account.address, amount)
        allow = amount if allowed is None else allowed
        self.deployer.do(self.sold, "approve(address,uint256)", self.address, allow, account=account)

    def swap(self, to: Any, amount: int, least: int = 0) -> str:
        """The data of a swap."""
        method = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
        return call(method, amount, least, [self.sold, self.bought], to.address, LATEST)
