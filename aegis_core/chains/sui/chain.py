"""Sui as one of an operator's chains: what a transaction is, what it costs at most, and what it did cost."""

from __future__ import annotations

from aegis_core.chains.cost import NativeCost
from aegis_core.chains.described import DescribedTransaction
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.other import OtherChain
from aegis_core.chains.quantities import JUDGED
from aegis_core.chains.sent import SentTransaction
from aegis_core.chains.simulation import COIN_ASSET
from aegis_core.chains.sui.network import SuiNetwork
from aegis_core.chains.sui.wire import SuiTransaction, check_signatures, decode
from aegis_core.chains.transaction import refused
from aegis_core.protocol.accounts import account
from aegis_core.protocol.errors import ChainError, InvalidRequestError

_MOST_SHOWN = 64


class SuiChain(OtherChain):
    """One that an operator set up."""

    def _open(self) -> ChainNetwork:
        setup = self.setup
        self.sui = SuiNetwork(self.profile, setup.rpc, quorum=setup.quorum, timeout=setup.timeout)
        return self.sui

    def account(self, text: str) -> str:
        """An address of 64 digits in lower case. Raises `InvalidRequestError`."""
        try:
            found = account(text)
        except ValueError as error:
            raise InvalidRequestError(f"wallet: {error}", field="wallet", problem=str(error)) from None
        if len(found) != 66:
            problem = f"{text!r} is no address of Sui: 0x and 64 hexadecimal digits"
            raise InvalidRequestError(f"wallet: {problem}", field="wallet", problem=problem)
        return found

    def wallets_of(self, raw: bytes) -> tuple[str, ...]:
        """Whose money signed bytes may be about: the sender, and who pays for gas."""
        transaction = decode(raw)
        return tuple(dict.fromkeys((transaction.sender, transaction.owner)))

    async def describe(self, raw: bytes, wallet: str) -> DescribedTransaction:
        """Read a transaction, with its signatures or none yet, and look what it would do.

        Raises:
            InvalidRequestError: it cannot be read, or `wallet` neither sends it nor pays for it.
        """
        transaction = decode(raw)
        signers = dict.fromkeys((transaction.sender, transaction.owner))
        if wallet not in signers:
            raise refused(f"is of {transaction.sender}, not of {wallet}")
        if transaction.signatures:
            check_signatures(transaction)
        found, problem = None, None
        try:
            found = await self.sui.simulate(transaction, wallet)
        except ChainError as error:
            problem = error.message[:300]
        out, plain = transaction.from_gas or 0, transaction.from_gas is not None
        out = out if transaction.owner == wallet else 0
        if found is not None:
            out = max(out, -dict(found.deltas).get(COIN_ASSET, 0))
        price, paid = min(transaction.price, JUDGED), transaction.recipients
        return DescribedTransaction(
            hash=transaction.digest, request=transaction.digest, core=transaction.core, wallet=wallet,
            cosigners=tuple(each for each in signers if each != wallet),
            cost=NativeCost(transaction.budget if transaction.owner == wallet else 0, out),
            to=paid[0] if len(paid) == 1 else None, calls=transaction.calls, recipients=paid,
            plain=plain and not transaction.calls, creates=transaction.creates, delegates=False, lasting=False,
            max_fee=price, priority_fee=price, simulation=found, problem=problem,
            shown=_shown(self.profile.id, transaction, wallet),
        )  # fmt: skip

    async def renewed(self, raw: bytes, sent: SentTransaction) -> int:
        """See that bytes are what a grant was given for, signed whole. Its digest is known before that, so that the
        same with another gas coin is another transaction."""
        transaction = decode(raw)
        if transaction.digest != sent.hash:
            raise refused("is another one than the grant was given for")
        check_signatures(transaction)
        return 0

    def name_of(self, sent: SentTransaction) -> str:
        """Its digest."""
        return decode(sent.raw).digest if sent.raw else sent.hash

    async def ended(self, sent: SentTransaction) -> NativeCost | None:
        """What a transaction took, once it is in a checkpoint; nothing where it can never be; None: it still may."""
        transaction = decode(sent.raw)
        over = await self._over(transaction)  # first, so that what happened meanwhile is seen below
        done = await self.sui.landed(transaction.digest)
        if done is None:
            never = over and not await self.sui.knows(transaction.digest)
            return NativeCost(0, 0) if never else None
        if done.checkpoint is None:
            return None
        gas = done.gas if transaction.owner == sent.address else 0
        # What the balance says contains the gas of who pays for it.
        return NativeCost(gas, -(done.change(sent.address) + gas), done.gained(sent.address))

    async def _over(self, transaction: SuiTransaction) -> bool:
        """Whether it cannot happen any more: its last epoch is over, or a coin that pays for it was used otherwise."""
        if transaction.epoch is not None and await self.sui.epoch() > transaction.epoch:
            return True
        versions = await self.sui.versions(tuple(transaction.gas_coins))
        pairs = zip(transaction.gas_coins.values(), versions, strict=True)
        # One that is not there may also be one that these nodes have not seen yet.
        return any(now is not None and now > used for used, now in pairs)


def _shown(chain: str, transaction: SuiTransaction, wallet: str) -> dict[str, object]:
    names = ("call", "transfer", "split", "merge", "publish", "make vector", "upgrade")
    commands = [
        each.function or (f"{names[each.kind]}" if each.target is None else f"{names[each.kind]} to {given}")
        for each in transaction.commands[:_MOST_SHOWN]
        for given in [", ".join(map(str, transaction.recipients))]
    ]  # fmt: skip
    return {
        "chain": chain, "core": transaction.core, "digest": transaction.digest, "from": transaction.sender,
        "wallet": wallet, "gas_paid_by": transaction.owner, "gas_budget": str(transaction.budget),
        "gas_price": str(transaction.price), "commands": commands,
        "inputs": {str(place): f"0x{raw.hex()[:128]}" for place, raw in list(transaction.pure.items())[:_MOST_SHOWN]},
        "last_epoch": transaction.epoch,
    }  # fmt: skip
