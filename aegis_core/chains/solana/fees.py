"""What Solana takes for a transaction: known to the lamport before it is sent, whatever becomes of it."""

from __future__ import annotations

from aegis_core.chains.solana.wire import SolanaTransaction
from aegis_core.chains.transaction import refused

LAMPORTS_PER_SIGNATURE = 5_000
MICRO = 1_000_000
MOST_UNITS = 1_400_000
_BUILTIN_UNITS, _UNITS = 3_000, 200_000

COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111"
_ED25519 = "Ed25519SigVerify111111111111111111111111111"
_SECP256K1 = "KeccakSecp256k11111111111111111111111111111"
_SECP256R1 = "Secp256r1SigVerify1111111111111111111111111"
PRECOMPILES = frozenset({_ED25519, _SECP256K1, _SECP256R1})
"""Programs that check signatures, each of which costs as much as one of the transaction's own."""
_BUILTINS = frozenset({
    COMPUTE_BUDGET, _ED25519, _SECP256K1, "11111111111111111111111111111111",
    "Vote111111111111111111111111111111111111111", "BPFLoader1111111111111111111111111111111111",
    "BPFLoader2111111111111111111111111111111111", "BPFLoaderUpgradeab1e11111111111111111111111",
    "LoaderV411111111111111111111111111111111111",
})  # fmt: skip
"""Programs for which so little is set aside where no limit is named. Those that moved to bytecode since are not among
them."""
_FORMS = {1: 5, 2: 5, 3: 9, 4: 5}
"""The instructions of the compute budget, each with its length: heap, limit, price, size of loaded accounts."""
_LIMIT, _PRICE = 2, 3


def budget_of(transaction: SolanaTransaction) -> tuple[int, int]:
    """The units that it may use, and micro-lamports for each.

    Raises:
        InvalidRequestError: it sets one of them twice, or in no known form, so that it could only fail.
    """
    set_to: dict[int, int] = {}
    for call in transaction.instructions:
        if call.program != COMPUTE_BUDGET:
            continue
        kind = call.data[0] if call.data else 0
        if _FORMS.get(kind) != len(call.data) or kind in set_to:
            raise refused("sets its compute budget twice, or in a form that is not known here")
        set_to[kind] = int.from_bytes(call.data[1:], "little")
    usual = sum(_BUILTIN_UNITS if call.program in _BUILTINS else _UNITS for call in transaction.instructions)
    return min(set_to.get(_LIMIT, usual), MOST_UNITS), set_to.get(_PRICE, 0)


def fee_of(transaction: SolanaTransaction) -> int:
    """Lamports that its payer is charged, also where it fails. Raises as `budget_of`."""
    checked = sum(call.data[0] for call in transaction.instructions if call.program in PRECOMPILES and call.data)
    units, price = budget_of(transaction)
    return LAMPORTS_PER_SIGNATURE * (transaction.signers + checked) + -(-units * price // MICRO)
