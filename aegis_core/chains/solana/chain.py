"""Solana as one of an operator's chains: what a transaction is, what it costs at most, and what it did cost."""

from __future__ import annotations

from collections.abc import Mapping

from aegis_core.chains.book import Chain
from aegis_core.chains.cost import NativeCost
from aegis_core.chains.described import DescribedTransaction
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.other import OtherChain
from aegis_core.chains.quantities import JUDGED
from aegis_core.chains.sent import SentTransaction
from aegis_core.chains.simulation import COIN_ASSET
from aegis_core.chains.solana import base58
from aegis_core.chains.solana.fees import budget_of, fee_of
from aegis_core.chains.solana.network import SolanaNetwork
from aegis_core.chains.solana.programs import (
    assigns,
    durable_nonce,
    method_of,
    payments,
    plain,
    puts_code,
    recipients,
    tips,
)
from aegis_core.chains.solana.simulation import Seen, simulate
from aegis_core.chains.solana.wire import SolanaTransaction, check_signatures, decode
from aegis_core.chains.transaction import refused
from aegis_core.protocol.errors import ChainError, InvalidRequestError

_NONCE_DATA, _NONCE_VALUE = 80, slice(40, 72)
_MOST_SHOWN = 64


class SolanaChain(OtherChain):
    """One that an operator set up."""

    def _open(self) -> ChainNetwork:
        setup = self.setup
        self.solana = SolanaNetwork(self.profile, setup.rpc, quorum=setup.quorum, timeout=setup.timeout)
        return self.solana

    def account(self, text: str) -> str:
        """An account in base58. Raises `InvalidRequestError`."""
        try:
            base58.decode(text, 32)
        except ValueError as error:
            raise InvalidRequestError(f"wallet: {text!r} {error}", field="wallet", problem=str(error)) from None
        return text

    def wallets_of(self, raw: bytes) -> tuple[str, ...]:
        """Whose money signed bytes may be about: who pays the fee, and whoever signs besides."""
        transaction = decode(raw)
        return transaction.keys[: transaction.signers]

    async def describe(self, raw: bytes, wallet: str) -> DescribedTransaction:
        """Read a transaction, signed or with zeros for signatures, and look what it would do.

        Raises:
            InvalidRequestError: it cannot be read, `wallet` does not sign it, or its blockhash is over already.
            ChainError: the nodes do not agree on that.
        """
        transaction = decode(raw)
        signers = transaction.keys[: transaction.signers]
        if wallet not in signers:
            raise refused(f"is signed by {', '.join(signers)}, not by {wallet}")
        if transaction.signed:
            check_signatures(transaction)
        fee = fee_of(transaction) if transaction.payer == wallet else 0
        units, price = budget_of(transaction)
        until = await self._until(transaction)
        seen, problem = None, None
        try:
            seen = await simulate(self.solana, transaction, wallet)
        except ChainError as error:
            problem = error.message[:300]
        found, keys = seen and seen.simulation, seen.keys if seen else transaction.keys
        # What is signed counts where it is more than what the simulation shows, also where that fails.
        out = sum(each.lamports for each in payments(transaction, keys) if each.source in {wallet, None})
        if found is not None:
            out = max(out, -dict(found.deltas).get(COIN_ASSET, 0))
        paid = _paid(transaction, seen)
        written = seen.writable if seen else transaction.writable_keys
        offered = max(price, await self.solana.fee_for(written))
        return DescribedTransaction(
            hash=transaction.core, request=transaction.hash, core=transaction.core, wallet=wallet,
            cosigners=tuple(each for each in signers if each != wallet), cost=NativeCost(fee, out),
            to=paid[0] if len(paid) == 1 else None, recipients=paid, plain=plain(transaction),
            calls=tuple(dict.fromkeys(map(method_of, transaction.instructions))),
            creates=any(puts_code(each.program) for each in transaction.instructions),
            delegates=assigns(transaction, wallet) or bool(seen and seen.assigned),
            lasting=durable_nonce(transaction) is not None, max_fee=min(offered, JUDGED),
            priority_fee=min(offered, JUDGED), simulation=found, problem=problem, until=until,
            shown=_shown(self, transaction, wallet, fee, units, price),
        )  # fmt: skip

    async def renewed(self, raw: bytes, sent: SentTransaction) -> int:
        """See that bytes are what a grant was given for, signed whole: perhaps again, with a newer blockhash, because
        the one that was judged expired while a person was asked. Answers the height after which they are over.

        Raises:
            InvalidRequestError: they do something else, are not signed, or are over already.
        """
        transaction = decode(raw)
        if transaction.core != sent.hash:
            raise refused("does something else than the grant was given for")
        check_signatures(transaction)
        return await self._until(transaction)

    async def _until(self, transaction: SolanaTransaction) -> int:
        if durable_nonce(transaction) is not None:
            return 0
        until = await self.solana.expires(transaction.blockhash)
        if until is None:
            raise refused("names a blockhash that is over, or that no node knows; sign it again with a newer one")
        return until

    def name_of(self, sent: SentTransaction) -> str:
        """Its signature, once it is signed."""
        return decode(sent.raw).signature if sent.raw else sent.hash

    async def ended(self, sent: SentTransaction) -> NativeCost | None:
        """What a transaction took, once it is final; nothing where it can never land; None: it still may."""
        transaction = decode(sent.raw)
        over = await self._over(transaction, sent.until)  # first, so that what landed meanwhile is seen below
        landed = await self.solana.landed(transaction.signature)
        if landed is None:
            never = over and not await self.solana.knows(transaction.signature)
            return NativeCost(0, 0) if never else None
        fee = landed.fee if landed.keys and landed.keys[0] == sent.address else 0
        return NativeCost(fee, landed.lost(sent.address) - fee, landed.gained(sent.address))

    async def _over(self, transaction: SolanaTransaction, until: int) -> bool:
        nonce = durable_nonce(transaction)
        if nonce is None:
            return await self.solana.final_height() > until
        if not nonce:
            return False  # its account stands in a table, so that nobody can tell
        data = await self.solana.nonce_value(nonce)
        return data is None or len(data) != _NONCE_DATA or base58.encode(data[_NONCE_VALUE]) != transaction.blockhash


def _paid(transaction: SolanaTransaction, seen: Seen | None) -> tuple[str | None, ...]:
    """Whom it pays; for an account of tokens, whose it is."""
    owners: Mapping[str, str] = seen.owners if seen else {}
    keys = seen.keys if seen else transaction.keys
    return tuple(dict.fromkeys(each and owners.get(each, each) for each in recipients(transaction, keys)))


def _shown(
    chain: Chain, transaction: SolanaTransaction, wallet: str, fee: int, units: int, price: int
) -> dict[str, object]:
    calls = [
        {
            "program": each.program, "data": f"0x{each.data.hex()}",
            "accounts": [
                transaction.keys[place] if place < len(transaction.keys) else f"lookup {place - len(transaction.keys)}"
                for place in each.accounts
            ],
        }
        for each in transaction.instructions[:_MOST_SHOWN]
    ]  # fmt: skip
    more: dict[str, object] = {}
    if len(transaction.instructions) > _MOST_SHOWN:
        more["more_instructions"] = len(transaction.instructions) - _MOST_SHOWN
    if tip := tips(transaction):
        more["tip_lamports"] = str(tip)
    if transaction.lookups:
        more["tables"] = [[each.table, list(each.writable), list(each.readonly)] for each in transaction.lookups]
    if transaction.payer != wallet:
        more["fee_paid_by"] = transaction.payer
    if durable_nonce(transaction) is not None:
        more["never_expires"] = True
    return {
        "chain": chain.profile.id, "core": transaction.core, "from": wallet, "fee_lamports": str(fee),
        "compute_units": units, "micro_lamports_per_unit": str(price), "instructions": calls, **more,
    }  # fmt: skip
