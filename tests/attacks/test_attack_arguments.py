"""Attacks on what an approval covers: a call that is approved, and another one that passes for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import redis
from guarding import DEFENDED, Guarded, Serve, Weaken, bearer

import aegis_core
from aegis_core import AegisDenied, InvalidRequestError, Verdict
from aegis_core.protocol import arguments
from aegis_core.protocol.approvals import check_call
from aegis_core.protocol.canonical import canonical_json, digest
from aegis_core.store.packing import pack, unpack
from aegis_core.store.schema import Tenant
from aegis_core.testing import private_settings

pytestmark = pytest.mark.leaves("grants", "questions")

API = "/api/v1"


class Transfer:
    """An object of a program; what it holds cannot be seen from outside."""

    def __init__(self, to: str) -> None:
        self.to = to

    def __repr__(self) -> str:
        return "<Transfer at 0x7f0000000000>"


def old_hash(value: object) -> str:
    """As arguments were hashed before: by a spelling that takes everything, and tells less apart."""
    return digest(canonical_json(value))


OLD_HASH = old_hash({"to": "acme"})


def approved(server: Guarded, wish: dict[str, Any]) -> dict[str, Any]:
    """Ask, have it approved, and ask again."""
    session = server.enter("a")
    asked = server.ask(session, estimated_cost_usd=6, request_id="one", **wish).json()
    path = f"{API}/approvals/{asked['escalation_id']}/decision"
    said = server.http.post(path, json={"decision": "approve"}, headers=bearer(server.operator_key))
    assert said.status_code == 200, said.text
    return server.ask(session, estimated_cost_usd=6, request_id="one", **wish).json()


@DEFENDED
@pytest.mark.parametrize(
    ("shown", "run"),
    [
        ({7: "ada", "7": "mallory"}, {"7": "mallory"}),
        ({"key": b"pay"}, {"key": {"$bytes": b"pay".hex()}}),
        ({"rate": float("inf")}, {"rate": {"$float": "inf"}}),
    ],
    ids=["keys of numbers and text", "bytes and their spelling", "infinity and its spelling"],
)
def test_other_arguments_that_are_spelt_alike(serve: Serve, shown: object, run: object, defended: bool) -> None:
    hashed = arguments.hash_arguments if defended else old_hash
    granted = approved(serve(), {"tool": "pay", "arguments_hash": hashed(shown)})
    verdict = Verdict(
        "GRANTED", "a", "", "approved", Decimal(1), "one", 1, tool="pay", arguments_hash=granted["arguments_hash"]
    )
    if defended:
        with pytest.raises(AegisDenied, match="approved with other arguments"):
            check_call(verdict, "pay", hashed(run))
    else:
        check_call(verdict, "pay", hashed(run))


@DEFENDED
def test_an_object_whose_contents_nobody_sees(serve: Serve, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    if not defended:
        monkeypatch.setattr("aegis_core.client.agent.bound_arguments", lambda said: (old_hash(said), None))
    server = serve()
    with aegis_core.connect_sync(
        settings=private_settings(url=server.url, api_key=server.agent_key, tenant=server.settings.tenant)
    ) as governor:
        wish = {"tool": "pay", "arguments": {"order": Transfer("acme")}, "estimated_cost_usd": 6}
        if defended:
            with pytest.raises(InvalidRequestError, match="type Transfer that cannot be told from others"):
                governor.handshake("a").request("Pay the invoice", **wish)
        else:
            assert governor.handshake("a").request("Pay the invoice", **wish).status == "PENDING"
    waiting = server.http.get(f"{API}/approvals", headers=bearer(server.operator_key)).json()["approvals"]
    assert bool(waiting) is not defended, "nobody is asked about what cannot be told apart"


@DEFENDED
def test_a_question_about_arguments_hashed_as_they_were_before(serve: Serve, weaken: Weaken, defended: bool) -> None:
    if not defended:
        weaken("if hash and #hash == 32", "if false and #hash == 32")
    server = serve()
    session = server.enter("a")
    by_hash = {
        made: server.ask(session, confidence=0.1, tool="pay", arguments_hash=made, task_intent=made).json()
        for made in (OLD_HASH, arguments.hash_arguments({"to": "acme"}), "order-17")
    }
    with redis.Redis.from_url(server.settings.url) as client:  # the tenant as an older version left it
        root = f"ae:{{{server.settings.tenant}}}:t"
        found = unpack(client.get(root))
        assert len(found) == len(Tenant._fields)
        client.set(root, pack(found[: Tenant._fields.index("hashes")]))
    again = serve()
    ended = {
        made: again.http.get(f"{API}/approvals/{each['escalation_id']}", headers=bearer(again.operator_key)).json()
        for made, each in by_hash.items()
    }
    stands = {made: each["status"] for made, each in ended.items()}
    assert stands.pop(OLD_HASH) == ("withdrawn" if defended else "open")
    assert set(stands.values()) == {"open"}, "only what an older version hashed"
    if defended:
        assert "ask again" in ended[OLD_HASH]["decision_reason"]
        said = {"decision": "approve"}
        path = f"{API}/approvals/{by_hash[OLD_HASH]['escalation_id']}/decision"
        late = again.http.post(path, json=said, headers=bearer(again.operator_key))
        assert late.status_code == 409, late.text
    fresh = again.ask(session, confidence=0.1, tool="pay", arguments_hash=OLD_HASH, task_intent="More").json()
    serve()
    kept = again.http.get(f"{API}/approvals/{fresh['escalation_id']}", headers=bearer(again.operator_key)).json()
    assert kept["status"] == "open", "once; afterwards such a hash is a caller's own"
