"""One contract, two governors: on Redis, and over HTTP. What holds for one holds for the other."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr
from serving import OPERATOR, serving, trusting

import aegis_core
from aegis_core import AegisDenied, AegisError, ConfigurationError, Governor, InvalidRequestError, Settings, StoreError
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.approvals import ApprovalEdit
from aegis_core.protocol.errors import AuthError, ConflictError, NotFoundError, UnknownModelError
from aegis_core.protocol.messages import PermissionRequest, SettleRequest, Usage

pytestmark = [pytest.mark.concurrent, pytest.mark.leaves("grants", "questions")]

COST = {"estimated_cost_usd": "0.25"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"operator_secret": SecretStr(OPERATOR), "approval_seconds": 1.0})


@pytest.fixture
def url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """Where to connect to: Redis itself, or a server in front of it."""
    if request.param == "local":
        yield settings.url
    else:
        with serving(settings) as address:
            trusting(address)
            yield address


@pytest.fixture
async def governor(url: str, settings: Settings) -> AsyncIterator[Governor]:
    async with aegis_core.connect(url, token=OPERATOR, settings=settings) as connected:
        yield connected


async def two_must_approve(governor: Governor) -> None:
    terms = {"quorum": 2, "timeout_seconds": 3_600}
    rule = {"name": "two", "type": "max_cost", "limit_usd": 5, "asking": terms}
    assert isinstance(governor.port, ResourceGovernor)
    await governor.port.publish_policy(load_policy(json.dumps({"schema": 1, "rules": [rule]})), author="tests")


@pytest.mark.parametrize("url", ["local", "remote"], indirect=True)
class TestContract:
    """Passed by every implementation of `GovernorPort`."""

    async def test_a_handshake_opens_a_session(self, governor: Governor, settings: Settings) -> None:
        agent = await governor.handshake(
            "team/a", framework="crewai", capabilities=["search"], max_priority=7, session_budget_usd="2.50"
        )
        session = agent.session
        assert (session.agent_id, session.agent_framework, session.capabilities) == ("team/a", "crewai", ("search",))
        assert (session.max_priority, session.session_budget_usd, session.tenant) == (
            7,
            Decimal("2.5"),
            settings.tenant,
        )
        assert session.remaining_budget_usd == Decimal(10)
        assert [(line.scope, line.tightest) for line in session.budgets] == [
            ("agent", False), ("session", True), ("tenant", False),
        ]  # fmt: skip
        assert session.session_token.startswith("aegis_st_")

    async def test_a_request_is_granted(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        verdict = await agent.request("Summarise", estimated_cost_usd="0.035", logic_density=3)
        assert verdict.granted
        assert (verdict.remaining_budget_usd, verdict.reserved_usd) == (Decimal("9.965"), Decimal("0.035"))
        assert verdict.recommended_model is not None
        assert verdict.granted_at is not None
        assert verdict.granted_at.utcoffset() is not None

    async def test_the_least_and_the_largest_amounts_survive_to_the_nano_dollar(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        await governor.set_budget("agent", "a", "day", "7999999.123456789")
        await governor.set_budget("tenant", governor.tenant, "day", 8_000_000)
        verdict = await agent.request("Summarise", estimated_cost_usd="0.000000001")
        assert verdict.remaining_budget_usd == Decimal("7999999.123456788")

    async def test_a_request_is_rejected_without_an_error(self, governor: Governor) -> None:
        agent = await governor.handshake("a", max_priority=3)
        refused = await agent.request("Summarise", priority=4, **COST)
        assert (refused.status, refused.code) == ("REJECTED", "priority_above_maximum")
        denied = await agent.request("drop database users", priority=3, **COST)
        assert (denied.status, denied.code, denied.grant_id) == ("REJECTED", "policy", None)

    async def test_a_request_waits_for_a_human_and_times_out(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        pending = await agent.request("Summarise", estimated_cost_usd=6)
        assert (pending.status, pending.waiting_for) == ("PENDING", "human")
        assert pending.escalation_id is not None
        decided = await agent.request("Summarise", estimated_cost_usd=2, confidence=0.5, wait=5)
        assert (decided.status, decided.code) == ("REJECTED", "approval_timed_out")
        assert (await agent.budget()).remaining_budget_usd == Decimal(10)

    async def test_who_waits_for_news_of_an_approval_hears_of_votes_and_edits(
        self, governor: Governor, settings: Settings
    ) -> None:
        async with aegis_core.connect(settings=settings) as beside:
            await two_must_approve(beside)
        agent = await governor.handshake("ann")
        asked = await agent.request("Pay", estimated_cost_usd=7)
        review, approval = governor.approvals, asked.escalation_id or ""
        for change in (None, ApprovalEdit(estimated_cost_usd=Decimal(8)), ApprovalEdit(estimated_cost_usd=Decimal(9))):
            waiting = asyncio.create_task(review.get(approval, wait=600))
            await asyncio.sleep(1)
            done = await review.decide(approval, "approve", by="ada", edit=change)
            news = await asyncio.wait_for(waiting, 60)
            assert news == done
            assert (len(news.votes), news.status, news.edited) == (1, "open", change is not None)
        assert (await review.get(approval, wait=0.2)).amount_usd == Decimal(9)

    async def test_an_approval_counts_only_for_what_was_looked_at(self, governor: Governor, settings: Settings) -> None:
        agent = await governor.handshake("ann")
        review = governor.approvals
        async with aegis_core.connect(settings=settings) as beside:
            await two_must_approve(beside)
            for last in ("approve", "reject"):
                asked = await agent.request(f"Pay and {last}", estimated_cost_usd=7)
                approval = asked.escalation_id or ""
                seen = await review.get(approval)
                await beside.approvals.decide(approval, "approve", by="ada", edit=ApprovalEdit(estimated_cost_usd="8"))  # type: ignore[arg-type]
                with pytest.raises(ConflictError, match="edited after you looked at it") as caught:
                    await review.decide(approval, "approve", by="bob", content=seen.content)
                assert caught.value.code == "edited_since"
                now = await review.get(approval)
                assert (now.status, len(now.votes), now.amount_usd) == ("open", 1, 8)
                content = now.content if last == "approve" else seen.content  # a no to what was there is a no
                done = await review.decide(approval, last, by="bob", content=content)
                assert done.status == ("approved" if last == "approve" else "rejected")
                if last == "approve":
                    await agent.release(asked.grant_id or "")

    async def test_a_permit_settles_the_difference(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        async with agent.permit("Summarise", estimated_cost_usd="0.035") as grant:
            grant.settle(cost_usd="0.031")
        assert grant.receipt is not None
        assert (grant.receipt.charged_usd, grant.receipt.returned_usd) == (Decimal("0.031"), Decimal("0.004"))
        async with agent.permit("Answer", model="gpt-4o", prompt_bytes=2_000, max_output_tokens=100) as grant:
            grant.settle(usage=Usage(model="gpt-4o", input_tokens=400, output_tokens=50))
        assert grant.receipt.charged_usd == Decimal("0.0015")

    async def test_an_exception_charges_unless_it_is_known_to_be_free(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        with pytest.raises(RuntimeError, match="no answer"):
            async with agent.permit("Summarise", on_error="release", **COST):
                raise RuntimeError("no answer")
        assert (await agent.budget()).remaining_budget_usd == Decimal(10)
        with pytest.raises(RuntimeError, match="no answer"):
            async with agent.permit("Summarise", **COST) as grant:
                raise RuntimeError("no answer")
        assert grant.receipt is not None
        assert grant.receipt.estimated
        assert grant.receipt.charged_usd == grant.receipt.reserved_usd == Decimal("0.25")

    async def test_an_answer_is_charged_by_its_usage(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        usage = {"prompt_tokens": 400, "completion_tokens": 100, "total_tokens": 500}
        answer = {"object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": usage}
        for tier, usd in (("default", "0.002"), ("ultrafast", "0.25")):
            async with agent.permit("Summarise", **COST) as grant:
                grant.settle(response=answer | {"service_tier": tier})
            assert grant.receipt is not None
            assert (grant.receipt.charged_usd, grant.receipt.estimated) == (Decimal(usd), tier == "ultrafast")

    async def test_a_refused_permit_raises(self, governor: Governor) -> None:
        agent = await governor.handshake("a", session_budget_usd="0.10")
        with pytest.raises(AegisDenied, match=r"budget has \$0.10 of \$0.10 left, and \$0.25 was asked") as caught:
            async with agent.permit("Summarise", **COST):
                pytest.fail("the block ran")
        assert caught.value.code == "budget_exceeded"

    async def test_an_overrun_is_charged_and_announced(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        async with agent.permit("Summarise", **COST) as grant:
            grant.settle(cost_usd="0.40")
        assert grant.receipt is not None
        assert grant.receipt.overrun_usd == Decimal("0.15")
        assert [event.kind for event in await governor.events()][-1] == "overrun"

    async def test_a_grant_is_extended(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        async with agent.permit("Summarise", **COST) as grant:
            receipt = await grant.extend(1_800)
        assert grant.verdict.expires_at is not None
        assert receipt.expires_at is not None
        assert receipt.expires_at > grant.verdict.expires_at

    async def test_the_same_request_id_charges_once(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        first = await agent.request("Summarise", request_id="one", **COST)
        again = await agent.request("Summarise", request_id="one", **COST)
        assert again == first
        assert (await agent.budget()).remaining_budget_usd == Decimal("9.75")

    async def test_a_reused_request_id_is_a_conflict(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        await agent.request("Summarise", request_id="one", **COST)
        with pytest.raises(ConflictError, match="request_id: was used before for another request") as caught:
            await agent.request("Translate", request_id="one", **COST)
        assert (caught.value.code, caught.value.facts["field"]) == ("conflict", "request_id")

    async def test_settling_twice_is_a_repeat_or_a_conflict(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        grant = (await agent.request("Summarise", **COST)).grant_id or ""
        assert not (await agent.settle(grant, cost_usd="0.2")).repeated
        assert (await agent.settle(grant, cost_usd="0.2")).repeated
        with pytest.raises(ConflictError, match="already settled with other content") as caught:
            await agent.settle(grant, cost_usd="0.3")
        assert (caught.value.code, caught.value.facts["state"]) == ("grant_closed", "S")
        with pytest.raises(ConflictError, match="already settled"):
            await agent.release(grant)

    async def test_what_belongs_to_another_agent_is_refused(self, governor: Governor) -> None:
        mine, other = await governor.handshake("a"), await governor.handshake("b")
        grant = (await mine.request("Summarise", **COST)).grant_id or ""
        with pytest.raises(AuthError, match="belongs to another agent") as caught:
            await other.settle(grant, cost_usd=0)
        assert caught.value.code == "not_yours"
        request = PermissionRequest(
            agent_id="a", task_intent="Summarise", resource_type="compute", estimated_cost_usd=1
        )
        with pytest.raises(AuthError, match="belongs to another agent"):
            await governor.port.request_permission(request, token=other.session.session_token)
        with pytest.raises(AuthError, match="not a session token"):
            await governor.port.settle(grant, SettleRequest(cost_usd=1), token="aegis_st_no")

    async def test_unknown_things_are_named(self, governor: Governor) -> None:
        request = PermissionRequest(
            agent_id="x", task_intent="Summarise", resource_type="compute", estimated_cost_usd=1
        )
        with pytest.raises(NotFoundError, match="never shook hands") as caught:
            await governor.port.request_permission(request)
        assert caught.value.facts["kind"] == "agent"
        with pytest.raises(NotFoundError, match="never shook hands"):
            await governor.budget("nobody")
        agent = await governor.handshake("a")
        with pytest.raises(NotFoundError, match="no such grant"):
            await agent.settle("gr_" + "0" * 32, cost_usd=1)
        grant = (await agent.request("Summarise", **COST)).grant_id or ""
        with pytest.raises(UnknownModelError) as unknown:
            await agent.settle(grant, usage=Usage(model="gpt-9000-of-nobody", input_tokens=1))
        assert unknown.value.code == "unknown_model"

    async def test_a_bad_field_is_named(self, governor: Governor) -> None:
        agent = await governor.handshake("a")
        with pytest.raises(InvalidRequestError, match="priority: must be greater than or equal to 1") as caught:
            await agent.request("Summarise", priority=0, **COST)
        assert caught.value.field == "priority"
        with pytest.raises(InvalidRequestError) as invalid:
            await governor.set_budget("planet", "earth", "day", 1)
        assert invalid.value.field == "scope"
        with pytest.raises(InvalidRequestError, match=r"window: must be hour, day"):
            await governor.set_budget("agent", "a", "fortnight", 1)
        with pytest.raises(InvalidRequestError, match=r"limit_usd: .*is negative"):
            await governor.set_budget("agent", "a", "day", -1)

    async def test_the_budget_report_names_every_bound(self, governor: Governor) -> None:
        agent = await governor.handshake("team/a", session_budget_usd=1)
        await agent.request("Summarise", **COST)
        report = await agent.budget()
        assert (report.agent_id, report.remaining_budget_usd) == ("team/a", Decimal("9.75"))
        assert {(state.scope, state.window, state.reserved_usd) for state in report.budgets} == {
            (scope, window, Decimal("0.25"))
            for scope, window in (("agent", "day"), ("session", "total"), ("tenant", "day"))
        }
        assert all((state.resets_at is None) == (state.window == "total") for state in report.budgets)

    @pytest.mark.parametrize(
        ("scope", "name"), [("agent", "team/a"), ("tenant", ""), ("label", "team=research"), ("resource", "compute")]
    )
    async def test_an_operator_sets_a_limit(self, governor: Governor, scope: str, name: str) -> None:
        await governor.handshake("team/a")
        state = await governor.set_budget(scope, name or governor.tenant, "rolling:24h", "1.5")
        assert (state.scope, state.window, state.limit_usd, state.spent_usd) == (scope, "rolling:1d", Decimal("1.5"), 0)
        assert (await governor.events())[-1].kind == "budget_set"

    async def test_agents_come_in_pages(self, governor: Governor) -> None:
        for name in ("c", "a", "b/1"):
            await governor.handshake(name)
        first = await governor.agents(limit=2)
        assert [agent.agent_id for agent in first] == ["a", "b/1"]
        assert [agent.agent_id for agent in await governor.agents(after="b/1", limit=2)] == ["c"]
        assert (first[0].status, first[0].limit_usd) == ("active", Decimal(10))

    async def test_events_come_in_order_and_can_be_followed(self, governor: Governor, url: str) -> None:
        agent = await governor.handshake("a")
        begun, seen = asyncio.Event(), list[str]()

        async def watch() -> None:
            async for event in governor.follow():
                begun.set()
                if event.kind != "budget_set":
                    seen.append(event.kind)
                if len(seen) == 2:
                    return

        watching = asyncio.create_task(watch())
        while not begun.is_set():  # from when on it follows only shows in what it sees
            await governor.set_budget("agent", "a", "day", 10)
            await asyncio.sleep(0.02)
        (last,) = await governor.latest_events(1)
        grant = (await agent.request("Summarise", **COST)).grant_id or ""
        await agent.settle(grant, cost_usd="0.1")
        await asyncio.wait_for(watching, 60)
        assert seen == ["granted", "settled"]
        before = ["tenant_opened", *(["profiles_published"] if url.startswith("http") else []), "handshake"]
        events = await governor.events(limit=len(before))
        assert [event.kind for event in events] == before
        assert [event.kind for event in await governor.events(after=last.id)] == seen
        assert [event.kind for event in await governor.latest_events(2)] == seen
        (last,) = await governor.latest_events(1)
        assert await governor.events(after=last.id, wait=0.05) == ()

    async def test_errors_keep_their_facts_when_pickled(self, governor: Governor) -> None:
        with pytest.raises(AegisError) as caught:
            await governor.budget("nobody")
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (type(copy), copy.code, copy.facts) == (type(caught.value), caught.value.code, caught.value.facts)

    async def test_plain_code_has_the_same_interface(self, url: str, settings: Settings) -> None:
        with aegis_core.connect_sync(url, token=OPERATOR, settings=settings) as governor:
            agent = governor.handshake("a", session_budget_usd=1)
            with agent.permit("Summarise", **COST) as grant:
                grant.settle(cost_usd="0.20")
            assert agent.budget().remaining_budget_usd == Decimal("9.8")
            assert governor.set_budget("agent", "a", "day", 5).limit_usd == Decimal(5)
            with pytest.raises(AegisDenied), agent.permit("Summarise", estimated_cost_usd=2):
                pytest.fail("the block ran")


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    with serving(settings) as url:
        trusting(url)
        yield url


@asynccontextmanager
async def cutting(target: str, cut: int) -> AsyncIterator[str]:
    """A proxy that carries a request to the server and hangs up before the answer, for one request: the `cut`-th."""
    requests = 0
    upstream = urlsplit(target)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        there, back = await asyncio.open_connection(upstream.hostname, upstream.port)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                back.write(head + await reader.readexactly(int(length.split(b":")[1])))
                requests += 1
                lost = requests == cut
                answer = await there.readuntil(b"\r\n\r\n")
                if lost:
                    return
                size = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                writer.write(answer + await there.readexactly(int(size.split(b":")[1])))
        except asyncio.IncompleteReadError:
            pass
        finally:
            for stream in (back, writer):
                stream.close()

    server = await asyncio.start_server(carry, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_lost_answer_is_asked_for_once_more_and_charged_once(address: str, settings: Settings) -> None:
    async with cutting(address, cut=2) as url, aegis_core.connect(url, settings=settings) as governor:
        agent = await governor.handshake("a")
        verdict = await agent.request("Summarise", **COST)
        assert verdict.granted
        assert (await agent.budget()).remaining_budget_usd == Decimal("9.75")
        kinds = [event.kind for event in await governor.events()]
        assert kinds.count("granted") == 1


async def test_a_lost_receipt_is_asked_for_once_more_and_charged_once(address: str, settings: Settings) -> None:
    async with cutting(address, cut=3) as url, aegis_core.connect(url, settings=settings) as governor:
        agent = await governor.handshake("a")
        grant = (await agent.request("Summarise", **COST)).grant_id or ""
        receipt = await agent.settle(grant, cost_usd="0.2")
        assert (receipt.charged_usd, receipt.repeated) == (Decimal("0.2"), True)
        assert (await agent.budget()).budgets[0].spent_usd == Decimal("0.2")


async def test_a_wait_longer_than_one_call_goes_on(
    address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_core.remote.governor._LONGEST_WAIT", 0.3)
    async with aegis_core.connect(address, settings=settings) as governor:
        agent = await governor.handshake("a")
        verdict = await agent.request("Summarise", estimated_cost_usd=6, wait=5)
        assert verdict.code == "approval_timed_out"


async def test_a_server_that_is_not_there_is_a_store_error(settings: Settings) -> None:
    async with aegis_core.connect("http://127.0.0.1:9", settings=settings) as governor:
        with pytest.raises(
            StoreError, match=r"governor at http://127.0.0.1:9 cannot be reached .* `aegis serve`"
        ) as caught:
            await governor.handshake("a")
        assert caught.value.facts["reason"] == "down"


async def test_an_address_of_something_else_is_told_apart(settings: Settings) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<h1>nginx</h1>"[:-1])
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with aegis_core.connect(url, settings=settings) as governor:
            with pytest.raises(StoreError, match=r"answered 404 in words that are not Aegis's"):
                await governor.budget("a")


async def test_a_server_of_another_tenant_refuses(address: str, settings: Settings) -> None:
    async with aegis_core.connect(address, tenant=f"t-{uuid4().hex[:8]}", settings=settings) as governor:
        with pytest.raises(NotFoundError, match=f"is for the tenant '{settings.tenant}' only; set AEGIS_TENANT"):
            await governor.handshake("a")


async def test_operators_calls_need_the_operator_secret(address: str, settings: Settings) -> None:
    plain = settings.model_copy(update={"operator_secret": None})
    async with aegis_core.connect(address, settings=plain) as governor:
        with pytest.raises(AuthError, match="for operators: send Authorization") as caught:
            await governor.set_budget("tenant", settings.tenant, "day", 1)
        assert caught.value.code == "missing_credential"
    async with aegis_core.connect(address, token="aegis_op_guessed", settings=settings) as governor:
        with pytest.raises(AuthError, match="neither a session token nor the operator secret"):
            await governor.set_budget("tenant", settings.tenant, "day", 1)


async def test_a_token_that_no_header_can_carry_is_refused_without_being_shown(settings: Settings) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with aegis_core.connect("http://127.0.0.1:9", token="se\ncret", settings=settings):
            pytest.fail("connected")
    assert "cret" not in str(caught.value)


async def test_an_agent_named_like_a_path_is_still_an_agent(address: str, settings: Settings) -> None:
    async with aegis_core.connect(address, settings=settings) as governor:
        for name in ("..", ".", "a/../b", "//", "a:b@c/d"):
            await governor.handshake(name)
            assert (await governor.budget(name)).agent_id == name
