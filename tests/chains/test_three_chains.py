"""One budget over several chains and tokens of models: exact to the nano-dollar, and one report of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from anvil import Anvil
from desks import other_desk
from litesvm import GENESIS, SOL, Solana, pay
from litesvm import serving as solana_at
from signing import COIN, GWEI, fields
from solders.pubkey import Pubkey
from suichain import CHAIN, MIST, Effects, SuiServer, schema, vector, vectors
from suichain import serving as sui_at

from aegis_core import Settings
from aegis_core.protocol.profiles import Profile

MONAD, SOLANA, SUI = 2_000, 150, 3
"""Dollars a coin."""


def nanos(amount: int, usd: int, unit: int) -> int:
    return -(-amount * usd * 10**9 // unit)


async def test_gas_on_three_chains_and_tokens_of_models_come_out_of_one_day(
    settings: Settings, anvil: Anvil, tmp_path: Path
) -> None:
    schema(2)
    anvil.base_fee(GWEI)
    solana, sui, account = Solana(), SuiServer(), anvil.account()
    payer = solana.account()
    async with solana_at(solana) as solana_urls, sui_at(sui) as sui_urls:
        chains: dict[str, dict[str, object]] = {
            # Monad's way to charge, on the chain of this machine.
            "anvil": {"rpc": [anvil.url], "usd": MONAD, "fees": "monad", "stale_seconds": 3_600},
            "litesvm": {
                "rpc": solana_urls, "id": f"solana:{GENESIS}", "symbol": "SOL", "fees": "solana", "usd": SOLANA,
            },
            "moving": {"rpc": sui_urls, "id": f"sui:{CHAIN}", "symbol": "SUI", "fees": "sui", "usd": SUI},
        }  # fmt: skip
        async with other_desk(settings, tmp_path, **chains) as desk:
            wallets = (account.address, str(payer.pubkey()), vectors()["me"])
            await desk.port.operator.set_profile(Profile(match="trader", wallets=wallets), author="test")
            said = fields(2, nonce=0, value=COIN // 1_000)
            raws = {
                "anvil": bytes(account.sign_transaction(said).raw_transaction),
                "litesvm": solana.signed([pay(payer.pubkey(), Pubkey.new_unique(), SOL // 100)], payer),
                "moving": vector("pay"),
            }
            hashes = {}
            for (name, raw), wallet in zip(raws.items(), wallets, strict=True):
                async with desk.agent.wallet(name, wallet).transact(raw, intent="Pay", wait=0) as tx:
                    hashes[name] = (await tx.send()).hash
            anvil.finalize()
            await desk.follow()
            cost = Decimal("0.000000123")
            call = await desk.agent.request("Think", resource_type="llm_tokens", estimated_cost_usd=cost)
            await desk.agent.settle(call.grant_id or "", cost_usd=cost)
            receipt = anvil.receipt(hashes["anvil"])
            gas = said["gas"] * int(receipt["effectiveGasPrice"], 16)
            assert int(receipt["gasUsed"], 16) < said["gas"]
            charged = (
                nanos(gas + COIN // 1_000, MONAD, COIN) + nanos(SOL // 100 + 5_000, SOLANA, SOL)
                + nanos(10_000_000 + Effects().net, SUI, MIST) + 123
            )  # fmt: skip
            assert await desk.spent() == (charged, 0)
