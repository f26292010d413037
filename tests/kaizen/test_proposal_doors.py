"""Proposals by command and over HTTP: the same to both, and a clear answer to what cannot be."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from pydantic import SecretStr, TypeAdapter
from serving import OPERATOR, serving

import aegis_core
from aegis_core import Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConflictError
from aegis_core.protocol.proposals import PolicyProposal, ProposalAct
from tests.kaizen.test_doors import Aegis, aegis
from tests.kaizen.test_optimizer import RULES, proposed

__all__ = ["aegis"]
AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}


async def _propose(settings: Settings, limit: int) -> str:
    async with aegis_core.connect(settings=settings) as governor:
        assert isinstance(governor.port, ResourceGovernor)
        await governor.port.publish_policy(load_policy(RULES % limit), author="ada")
        agent = await governor.handshake("writer")
        verdict = await agent.request("Work", estimated_cost_usd="0.95")
        await agent.release(str(verdict.grant_id))
        return await proposed(governor.port)


async def _far(url: str, name: str, settings: Settings) -> PolicyProposal:
    async with aegis_core.connect(url, token=OPERATOR, settings=settings) as governor:
        assert [each.proposal_id for each in (await governor.port.proposals.all()).proposals] == [name]
        with pytest.raises(ConflictError, match="it cannot later"):
            await governor.port.proposals.act(name, ProposalAct(act="later"), author="ada")
        return await governor.port.proposals.one(name)


def test_by_command_and_over_http(settings: Settings, aegis: Aegis) -> None:
    assert aegis("kaizen", "proposals", "list")[1] == "Nothing is proposed.\n"
    settings = settings.model_copy(update={"operator_secret": SecretStr(OPERATOR)})
    refused = asyncio.run(_propose(settings, 1))
    assert aegis("kaizen", "run", "--once")[0] == 0
    code, out, _ = aegis("kaizen", "proposals", "show", refused)
    assert code == 0
    assert "it would refuse 1 of 1 requests that were granted" in out
    assert "writer, gpt-5-mini: GRANTED would be REJECTED (cap)" in out
    code, _, err = aegis("kaizen", "commit", refused)
    assert code == 1
    assert f"The proposal {refused} is declined" in err
    many = "--since", "1d", "--json"
    kinds = [each["kind"] for each in json.loads(aegis("kaizen", "log", *many)[1])["events"]]
    assert kinds == ["kaizen_declined"]
    with serving(settings) as url, httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=60) as http:
        http.headers.update(AS_OPERATOR)
        (found,) = http.get("/kaizen/proposals").json()["proposals"]
        shown = json.loads(aegis("kaizen", "proposals", "show", refused, "--json")[1])
        read = TypeAdapter(PolicyProposal).validate_python
        assert read(found) == read(shown) == asyncio.run(_far(url, refused, settings))
        late = http.post(f"/kaizen/proposals/{refused}", json={"act": "approve"})
        assert (late.status_code, late.json()["code"]) == (409, "proposal_state")
        assert http.get("/kaizen/proposals/p-00000000").status_code == 404
        name = asyncio.run(_propose(settings, 2))
        asked = http.post(f"/kaizen/proposals/{name}", json={"act": "rollback"})
        assert (asked.status_code, asked.json()["code"]) == (409, "proposal_state")
        never = http.post(f"/kaizen/proposals/{name}", json={"act": "never", "reason": "no"})
        assert (never.json()["state"], never.json()["why"]) == ("declined", "never: no")
        assert http.post(f"/kaizen/proposals/{name}", json={"act": "never"}).status_code == 200
