"""What an OP stack takes beside gas, which no signature caps: asked of the chain's own oracle."""

from __future__ import annotations

from aegis_core.chains.cost import uncapped_fees
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.quantities import data
from aegis_core.chains.transaction import EvmTransaction

ORACLE = "0x420000000000000000000000000000000000000f"
"""The contract GasPriceOracle, at this address on every chain of the kind."""
_UPPER_BOUND = "0xf1c7a58b"  # getL1FeeUpperBound(uint256)
_OPERATOR_FEE = "0x275aedd2"  # getOperatorFee(uint256)


async def extra_fees(network: ChainNetwork, transaction: EvmTransaction) -> int:
    """What to reserve beside what is signed, in the smallest unit: 0 where the signature bounds all.

    Raises:
        ChainError: the nodes do not agree on it.
    """
    if network.profile.fees != "op_stack":
        return 0
    return uncapped_fees(
        await _asked(network, _UPPER_BOUND, transaction.size), await _asked(network, _OPERATOR_FEE, transaction.gas)
    )


async def _asked(network: ChainNetwork, selector: str, number: int) -> int:
    call = {"to": ORACLE, "data": f"{selector}{number:064x}"}
    return await network.reached("eth_call", call, "latest", read=_word)


def _word(answer: object) -> int:
    return int.from_bytes(data(answer, "eth_call", size=32))
