"""The GraphQL URL for Sui: what its SDK shows of a refusal, and that nothing executes beside what was judged."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from desks import OtherDesk, other_desk
from fetching import SUI
from serving import running
from suichain import CHAIN, MIST, Effects, SuiServer, schema, serving, vectors

from aegis_core import Settings
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.proxy.app import ProxyApp
from aegis_core.proxy.sui_road import GraphqlRefusal, executed

QUERY = (
    "mutation executeTransaction($d: Base64!, $s: [Base64!]!, $all: Boolean = false) "
    "{ executeTransaction(transactionDataBcs: $d, signatures: $s) { effects { ...E } } } "
    "fragment E on TransactionEffects { digest status @include(if: $all) }"
)
DATA, SIGNATURES = "AAAA", ["AA=="]
VARIABLES = {"d": DATA, "s": SIGNATURES}


@pytest.fixture
def chain() -> SuiServer:
    schema(2)
    return SuiServer()


@pytest.fixture
async def desk(settings: Settings, chain: SuiServer, tmp_path: Path) -> AsyncIterator[OtherDesk]:
    async with serving(chain) as urls:
        said = {"rpc": urls, "id": f"sui:{CHAIN}", "symbol": "SUI", "fees": "sui", "usd": 3}
        async with other_desk(settings, tmp_path, moving=said) as made:
            await made.own(vectors()["me"])
            yield made


@pytest.fixture
async def road(settings: Settings, desk: OtherDesk, tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    key = await desk.port.operator.proxy_keys.create(KeyTerms(agent_id="trader"), author="test")
    app = ProxyApp(settings.model_copy(update={"chains_file": tmp_path / "chains.json"}))
    with running(uvicorn.Config(app, log_config=None, ws="none", lifespan="on")) as url:
        yield f"{url}/rpc/moving", key.secret


async def by_sdk(road: tuple[str, str], name: str) -> dict[str, str]:
    script, found = Path(__file__).with_name("sui_client.mjs"), vectors()[name]
    command = ("node", str(script), str(SUI.path()), *road, found["data"], found["signature"])
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    said, problem = await process.communicate()
    assert process.returncode == 0, problem
    return json.loads(said)


async def test_the_sdk_sends_and_shows_what_was_refused(
    desk: OtherDesk, chain: SuiServer, road: tuple[str, str]
) -> None:
    await desk.rules({"name": "no-deploy", "type": "contract_creation"})
    assert await by_sdk(road, "pay") == {"digest": vectors()["pay"]["digest"]}
    await desk.follow()
    assert (chain.sent, await desk.spent()) == (1, ((10_000_000 + Effects().net) * 3 * 10**9 // MIST, 0))
    said = await by_sdk(road, "publish")
    assert said["error"].startswith("Aegis refused: The transaction creates a contract"), said
    assert (chain.sent, (await desk.spent())[1]) == (1, 0)


async def test_nothing_else_executes(desk: OtherDesk, chain: SuiServer, road: tuple[str, str]) -> None:
    url, key = road
    async with httpx.AsyncClient(trust_env=False, timeout=60, headers={"x-aegis-key": key}) as http:

        async def ask(query: Any, variables: Any = None) -> Any:
            answer = await http.post(url, json={"query": query, "variables": variables})
            assert answer.status_code == 200
            return answer.json()

        assert (await ask("{ chainIdentifier }"))["data"] == {"chainIdentifier": CHAIN}
        before, choice = len(chain.queries), random.Random(28)
        found = vectors()["pay"]
        for _ in range(40):
            data = list(found["data"])
            for _ in range(choice.randrange(1, 4)):
                data[choice.randrange(len(data))] = choice.choice("ABCabc019+/=")
            if "".join(data) == found["data"]:
                continue
            said = await ask(QUERY, {"d": "".join(data), "s": [found["signature"]]})
            assert said["errors"][0]["message"].startswith("Aegis"), said
        for broken in (5, None, QUERY.replace("mutation", "subscription"), QUERY + " query { chainIdentifier }"):
            assert (await ask(broken, VARIABLES))["errors"][0]["message"].startswith("Aegis")
        assert not any("mutation" in query for query in chain.queries[before:])
    assert (chain.sent, await desk.spent()) == (0, (0, 0))


def test_a_document_is_read_as_what_it_executes_or_not_passed_on() -> None:
    assert executed(QUERY, VARIABLES) == (bytes(3), (bytes(1),))
    inline = 'mutation { a: executeTransaction(signatures: ["AA=="] transactionDataBcs: "AAAA") { effects { digest }}}'
    assert executed(inline, {}) == (bytes(3), (bytes(1),))
    quoted = 'query { type(type: "mutation { executeTransaction }") { repr } }'
    for reading in ("{ epoch { epochId } }", quoted, "", "#mutation\n{x}"):
        assert executed(reading, {}) is None
    field = "executeTransaction(transactionDataBcs: $d, signatures: $s) { effects { digest } }"
    for other in (
        f"mutation M($d: Base64!) {{ {field} b: {field} }}", f"mutation {{ ...F }} fragment F on M {{ {field} }}",
        f"mutation {{ {field} other }}", f"mutation {{ other {field} }}", f"mutation @x {{ {field} }}",
        f"mutation {{ {field.replace('{ eff', '@skip(if: true) { eff')} }}", f"query {{ {field} }}", f"{{ {field} }}",
        f"mutation {{ {field} }} mutation B {{ {field} }}", f"mutation {{ {field.replace('$d', '$e')} }}",
        f"mutation {{ {field.replace('$d, signatures', '$d, transactionDataBcs: $s, signatures')} }}", "mutation {",
        'mutation { x(a: """executeTransaction""") }', f"mutation {{ {field[:60]}", "executeTransaction", "mutation",
    ):  # fmt: skip
        with pytest.raises(GraphqlRefusal):
            executed(other, VARIABLES)
