"""The same over HTTP: the program has the key, the server the nodes, and nobody's word but the chain's counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from anvil import COIN, Anvil
from guarding import bearer, guarded
from signing import GWEI, fields
from wallets import USD, written

import aegis_core
from aegis_core import Settings
from aegis_core.errors import AegisDenied, ConflictError, NotFoundError

pytestmark = pytest.mark.timeout(300)


async def test_a_program_sends_through_a_server(settings: Settings, anvil: Anvil, tmp_path: Path) -> None:
    anvil.base_fee(GWEI)
    account = anvil.account()
    with guarded(settings.model_copy(update={"chains_file": written(tmp_path, anvil)})) as home:
        profile = {"profiles": [{"match": "trader", "wallets": [account.address]}]}
        assert home.http.put("/api/v1/profiles", json=profile, headers=bearer(home.operator_key)).status_code == 200
        async with aegis_core.connect(home.url, tenant=settings.tenant, token=home.agent_key) as governor:
            agent = await governor.handshake("trader")
            wallet, before = agent.wallet("anvil", account.address), anvil.balance(account.address)

            def signed(by: object = account, **changed: object) -> bytes:
                said = fields(2, nonce=anvil.nonce(by.address), value=COIN // 1_000, **changed)
                return bytes(by.sign_transaction(said).raw_transaction)

            preview = await wallet.preview(signed())
            assert (preview.value_usd, preview.transaction.outflow_usd) == (2, 2)
            assert preview.transaction.simulation is not None
            assert preview.reserves_usd == preview.fees_usd + 2
            (chain,) = await agent.connection.port.transactions.status(token=agent.session.session_token)
            assert (chain.id, chain.coin_usd, chain.sources) == ("eip155:31337", USD, 1)
            assert chain.age_seconds is not None
            async with wallet.transact(signed(), intent="Pay") as tx:
                assert (await tx.send()).state == "sent"
            with pytest.raises(ConflictError):
                await agent.release(tx.grant_id)
            took = before - anvil.balance(account.address)
            anvil.finalize()
            report = await tx.settled(wait=60)
            assert (report.state, int(report.charged_usd * 10**9)) == ("settled", -(-took * USD * 10**9 // COIN))
            stranger = anvil.account()
            with pytest.raises(AegisDenied) as refused:
                async with agent.wallet("anvil", stranger.address).transact(signed(stranger), intent="Pay"):
                    pytest.fail("it was granted")
            assert refused.value.verdict.code == "foreign_wallet"
            other = await governor.handshake("other")
            with pytest.raises(NotFoundError):
                await agent.connection.port.transactions.report("gr_none", None, token=other.session.session_token)
            answer = home.http.get(f"/api/v1/transactions/{tx.grant_id}", headers=bearer(other.session.session_token))
            assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")
