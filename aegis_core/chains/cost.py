"""What a transaction can cost at most, by what is signed, and what it did cost, by its receipt. Integers throughout."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from aegis_core.chains.profiles import ChainProfile, OperatorFee
from aegis_core.chains.receipts import MinedTransaction, TokenTransfer
from aegis_core.chains.transaction import BLOB_GAS, EvmTransaction, refused
from aegis_core.protocol.money import MAX_NANOS, MAX_USD, NANOS_PER_USD

COIN = 10**18
"""The smallest units in one coin."""


@dataclass(frozen=True, slots=True)
class NativeCost:
    """An amount of a chain's coin, in its smallest unit: fees, and what is sent along. `transfers`: of tokens, in what
    a transaction did cost; there either amount may be below 0, where more came than went."""

    fees: int
    value: int
    transfers: tuple[TokenTransfer, ...] = ()

    @property
    def total(self) -> int:
        """Both."""
        return self.fees + self.value

    def within(self, most: NativeCost) -> bool:
        """Whether neither part is above that of another cost."""
        return self.fees <= most.fees and self.value <= most.value


def bound(transaction: EvmTransaction, profile: ChainProfile, extra: int = 0) -> NativeCost:
    """The most that a transaction can take from its sender.

    Args:
        transaction: what is, or will be, signed: no node can lie about it.
        profile: of its chain.
        extra: fees that the signature does not cap, see `uncapped_fees`.

    Raises:
        InvalidRequestError: the chain does not take it: its type, its gas, or it is signed for another chain.
    """
    if transaction.chain_id != profile.number:
        raise refused(f"is for eip155:{transaction.chain_id}, not for {profile.name} ({profile.id})")
    if transaction.type not in profile.types:
        raise refused(f"is of type {transaction.type}, which {profile.name} does not take")
    if profile.most_gas is not None and transaction.gas > profile.most_gas:
        raise refused(f"asks for {transaction.gas:,} gas; {profile.name} takes at most {profile.most_gas:,}")
    fees = transaction.gas * transaction.max_fee
    fees += transaction.max_blob_fee * BLOB_GAS * len(transaction.blob_hashes)
    return NativeCost(fees + extra, transaction.value)


def paid(transaction: EvmTransaction, profile: ChainProfile, receipt: MinedTransaction) -> NativeCost:
    """What a transaction did take from its sender.

    Raises:
        ValueError: the receipt does not say all that its chain charges by.
    """
    return paid_by(transaction.gas, transaction.value, profile, receipt)


def paid_by(gas: int, value: int, profile: ChainProfile, receipt: MinedTransaction) -> NativeCost:
    """The same by the gas limit and the value that were signed. Raises as `paid` does."""
    charged = gas if profile.fees == "monad" else receipt.gas_used
    fees = charged * receipt.gas_price + receipt.blob_gas_used * receipt.blob_gas_price
    if profile.fees == "op_stack":
        if receipt.data_fee is None:
            raise ValueError(f"the receipt names no l1Fee, which {profile.name} takes of every transaction")
        fees += receipt.data_fee
        fees += operator_fee(profile.operator_fee, receipt.gas_used, receipt.operator_scalar, receipt.operator_constant)
    return NativeCost(fees, value if receipt.success else 0, receipt.transfers if receipt.success else ())


def operator_fee(version: OperatorFee, gas: int, scalar: int, constant: int) -> int:
    """The operator fee of an OP stack, for so much gas."""
    return (gas * scalar * 100 if version == "jovian" else gas * scalar // 1_000_000) + constant


def uncapped_fees(data_fee: int, operator: int) -> int:
    """What to reserve for fees of an OP stack, which follow Ethereum's and have no cap: twice what they are now."""
    return 2 * data_fee + operator


def to_nanos(native: int, price: Decimal, decimals: int = 18) -> int:
    """Nano-dollars of an amount in the smallest unit, of so many `decimals`, at so many dollars a coin; rounded up.

    Raises:
        InvalidRequestError: more than any amount here may be.
    """
    exact = Fraction(native) * Fraction(price) * NANOS_PER_USD / 10**decimals
    nanos = -(-exact.numerator // exact.denominator)
    if nanos > MAX_NANOS:
        raise refused(f"could cost more than {MAX_USD:,} USD, the largest amount")
    return nanos
