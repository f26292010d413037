"""RemoteGovernor: the same interface over HTTP. Nothing is decided here; a lost answer is asked for once more."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from aegis_core.protocol.errors import (
    UNKNOWN,
    AegisError,
    AnswerLostError,
    AuthError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    LockLostError,
    LockPreemptedError,
    NotFoundError,
    PolicyError,
    StaleError,
    StateLostError,
    StoreError,
    UnknownModelError,
)
from aegis_core.protocol.hosts import is_loopback
from aegis_core.protocol.ids import RequestIds, spelt
from aegis_core.protocol.journal import JournalEntry, JournalRequest
from aegis_core.protocol.messages import (
    AgentSummary,
    BudgetChange,
    BudgetReport,
    BudgetState,
    ExtendRequest,
    Handshake,
    PermissionRequest,
    Receipt,
    ReleaseRequest,
    SessionOpened,
    SettleRequest,
    Verdict,
)
from aegis_core.protocol.parsing import loads, parse
from aegis_core.protocol.process import Process, check_process
from aegis_core.protocol.profiles import Profile, ProfileSet
from aegis_core.remote.approvals import RemoteApprovals, segment
from aegis_core.remote.calls import Query, adapter
from aegis_core.remote.events import RemoteEvents
from aegis_core.remote.experiments import RemoteExperiments
from aegis_core.remote.locks import RemoteLocks
from aegis_core.remote.proposals import RemoteProposals
from aegis_core.remote.transactions import RemoteTransactions
from aegis_core.remote.workflows import RemoteWorkflows

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")

_PATIENCE = 10.0
"""Seconds for an answer beyond those that the call itself asked to wait."""
_LONGEST_WAIT = 60.0
"""Seconds that the server lets one call wait."""

_SESSIONS_HELD = 10_000

_BY_CODE: dict[str, type[AegisError]] = {
    "unknown_model": UnknownModelError,
    "invalid_policy": PolicyError,
    "misconfigured": ConfigurationError,
    "stale": StaleError,
    "answer_lost": AnswerLostError,
    "state_lost": StateLostError,
    "lock_lost": LockLostError,
    "lock_preempted": LockPreemptedError,
}
_BY_STATUS: dict[int, type[AegisError]] = {
    400: InvalidRequestError,
    401: AuthError,
    403: AuthError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidRequestError,
    414: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: ConflictError,
    431: InvalidRequestError,
    503: StoreError,
}
_STANDARD = frozenset({"type", "title", "status", "detail", "code"})


@dataclass(slots=True)
class _AgentPage:
    agents: tuple[AgentSummary, ...]


@dataclass(slots=True)
class _Version:
    version: int


class RemoteGovernor(RemoteEvents):
    """A governor behind ``aegis serve``. Made by `aegis_core.connect` for ``http(s)://``.

    Args:
        url: where the server answers, without ``/api/v1``.
        tenant: whose agents these are; a server or credential of another tenant refuses.
        token: an API key, or the operator secret. An agent's key opens sessions, whose own tokens speak for them then.
    """

    def __init__(self, url: str, *, tenant: str, token: str | None = None) -> None:
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token):
            raise ConfigurationError("The token for the governor holds characters that no token has.")
        self.tenant = tenant
        self._url, self._token, self._process = url.rstrip("/"), token, Process.id
        self.journal = RemoteJournal(self)
        self._ids = RequestIds(time.time_ns() // 1_000_000)
        self._sessions: OrderedDict[str, str] = OrderedDict()
        self._http: httpx.AsyncClient | None = None
        self.locks = RemoteLocks(self._call, token)
        self.transactions = RemoteTransactions(self._call, token)
        self.experiments, self.proposals = RemoteExperiments(self._call, token), RemoteProposals(self._call, token)
        self.workflows = RemoteWorkflows(self._call, self._enter, token)
        self._approvals = RemoteApprovals(self._as_operator)

    @property
    def approvals(self) -> RemoteApprovals:
        """Requests that wait for a person."""
        return self._approvals

    async def _as_operator(
        self, method: str, path: str, kind: type[_T], *, body: BaseModel | None = None, query: Query | None = None,
        wait: float = 0, retry: bool = True,
    ) -> _T:  # fmt: skip
        return await self._call(method, path, kind, body=body, query=query, token=self._token, wait=wait, retry=retry)

    async def handshake(self, message: Handshake) -> SessionOpened:
        """As `ResourceGovernor.handshake`. An agent that shook hands here before shows its session token."""
        return await self._enter("/handshake", message.agent_id, message)

    async def _enter(self, path: str, agent_id: str, message: BaseModel) -> SessionOpened:
        opened: SessionOpened = await self._call(
            "POST", path, SessionOpened, body=message, token=self._token, session=self._sessions.get(agent_id),
            retry=True,
        )  # fmt: skip
        self._sessions[opened.agent_id] = opened.session_token
        if len(self._sessions) > _SESSIONS_HELD:
            self._sessions.popitem(last=False)
        self._ids = RequestIds(int(opened.opened_at.timestamp() * 1000))
        return opened

    async def request_permission(
        self, request: PermissionRequest, *, token: str | None = None, wait: float = 0
    ) -> Verdict:
        """As `ResourceGovernor.request_permission`. When the answer is lost, the same request id is sent once more."""
        if request.request_id is None:
            request = request.model_copy(update={"request_id": self._ids.new()})
        until = time.monotonic() + wait
        try:
            verdict: Verdict = await self._call(
                "POST", "/request-permission", Verdict, body=request, token=token, wait=wait, retry=True
            )
        except AnswerLostError as error:
            raise error.of_request(str(request.request_id)) from None
        while verdict.status == "PENDING" and verdict.grant_id and (left := until - time.monotonic()) > 0:
            path = f"/grants/{segment(verdict.grant_id)}"
            verdict = await self._call("GET", path, Verdict, token=token, wait=left, retry=True)
        return verdict

    async def settle(self, grant_id: str, message: SettleRequest, *, token: str | None = None) -> Receipt:
        """As `ResourceGovernor.settle`."""
        return await self._close(grant_id, "settle", message, token)

    async def release(self, grant_id: str, message: ReleaseRequest, *, token: str | None = None) -> Receipt:
        """As `ResourceGovernor.release`."""
        return await self._close(grant_id, "release", message, token)

    async def extend(self, grant_id: str, message: ExtendRequest, *, token: str | None = None) -> Receipt:
        """As `ResourceGovernor.extend`."""
        return await self._close(grant_id, "extend", message, token)

    async def _close(self, grant_id: str, act: str, message: BaseModel, token: str | None) -> Receipt:
        # The server answers a repeat of the same act with the same receipt, so a second try cannot charge twice.
        path = f"/grants/{segment(grant_id)}/{act}"
        return await self._call("POST", path, Receipt, body=message, token=token or self._token, retry=True)

    async def write_journal(self, message: JournalRequest, token: str | None) -> JournalEntry:
        """As `Journal.write`. Sending an act again is harmless, so a lost answer is asked for once more."""
        return await self._call("POST", "/journal", JournalEntry, body=message, token=token, retry=True)

    async def budget(self, agent_id: str) -> BudgetReport:
        """As `ResourceGovernor.budget`, with the token of the agent's session where it was opened here."""
        path = f"/budget/{segment(agent_id)}"
        session = self._sessions.get(agent_id)
        if session is not None:
            try:
                return await self._call("GET", path, BudgetReport, token=session, retry=True)
            except AuthError:
                self._sessions.pop(agent_id, None)  # it has ended; an operator may ask on
        return await self._call("GET", path, BudgetReport, token=self._token, retry=True)

    async def set_budget(
        self,
        scope: str,
        name: str,
        window: str,
        limit_usd: object,
        *,
        author: str = "operator",  # noqa: ARG002
    ) -> BudgetState:
        """As `ResourceGovernor.set_budget`, except that the server decides from the credential who the author is."""
        change = parse(BudgetChange, window=window, limit_usd=limit_usd)
        whom = self.tenant if scope == "tenant" else name
        path = f"/budgets/{segment(scope)}/{segment(whom)}"
        return await self._call("PUT", path, BudgetState, body=change, token=self._token, retry=True)

    async def label_agent(self, agent_id: str, labels: dict[str, str], *, author: str = "operator") -> None:  # noqa: ARG002
        """As `ResourceGovernor.label_agent`, except that the server decides who the author is."""
        profiles: ProfileSet = await self._call("GET", "/profiles", ProfileSet, token=self._token, retry=True)
        changed = profiles.of(agent_id).model_dump(exclude_unset=True) | {"match": agent_id, "labels": labels}
        body = profiles.with_profile(parse(Profile, **changed))
        await self._call("PUT", "/profiles", _Version, body=body, token=self._token, retry=True)

    async def agents(self, *, after: str | None = None, limit: int = 100) -> tuple[AgentSummary, ...]:
        """As `ResourceGovernor.agents`."""
        query = {"limit": limit} if after is None else {"limit": limit, "after": after}
        page: _AgentPage = await self._call("GET", "/agents", _AgentPage, query=query, token=self._token, retry=True)
        return page.agents

    async def aclose(self) -> None:
        """Close the connections; open grants stay open."""
        await self.locks.aclose()
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _call(
        self, method: str, path: str, kind: type[_T], *, body: BaseModel | None = None, query: Query | None = None,
        token: str | None = None, session: str | None = None, wait: float = 0, retry: bool = False,
    ) -> _T:  # fmt: skip
        """One call; with `retry`, a second one of the same content when the first one's answer was lost."""
        import httpx

        wait = min(max(wait, 0.0), _LONGEST_WAIT)
        headers = {"X-Aegis-Tenant": spelt(self.tenant)}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if session is not None:
            headers["X-Aegis-Session"] = session
        request = self._client().build_request(
            method, path, headers=headers, params={**(query or {}), **({"wait": wait} if wait else {})},
            content=None if body is None else body.model_dump_json(exclude_unset=True),
            timeout=httpx.Timeout(_PATIENCE, read=_PATIENCE + wait),
        )  # fmt: skip
        for last in (not retry, True):
            try:
                response = await self._client().send(request)
            except httpx.TransportError as error:
                if last:
                    raise self._unreachable(error) from None
            else:
                return self._answer(response, kind)
        raise AssertionError("INVARIANT: the last try answers or raises")

    def _client(self) -> httpx.AsyncClient:
        check_process(self._process)
        if self._http is None:
            import httpx

            try:
                # A proxy that the environment names is for the world outside, not for this machine.
                outside = not is_loopback(urlsplit(self._url).hostname or "")
                self._http = httpx.AsyncClient(
                    base_url=f"{self._url}/api/v1",
                    trust_env=outside,
                    limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
                )
            except (httpx.InvalidURL, ValueError) as error:
                raise ConfigurationError(f"AEGIS_URL {self._url!r} is not a URL of a governor: {error}") from None
        return self._http

    def _unreachable(self, error: Exception) -> StoreError:
        import httpx

        reason = "slow" if isinstance(error, httpx.TimeoutException) else "down"
        said = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return StoreError(
                f"The governor at {self._url} cannot be reached ({said}); no decision was made. "
                "Is `aegis serve` running there?",
                reason=reason,
            )
        return AnswerLostError(f"The governor at {self._url} did not answer ({said}); {UNKNOWN}", reason=reason)

    def _answer(self, response: httpx.Response, kind: type[_T]) -> _T:
        if response.status_code != 200:
            self._refuse(response)
        try:
            return adapter(kind).validate_json(response.content)
        except ValidationError as error:
            raise StoreError(
                f"The governor at {self._url} gave an answer that is not understood ({error.error_count()} errors); "
                "it may be of another version.",
                reason="malformed",
            ) from None

    def _refuse(self, response: httpx.Response) -> NoReturn:
        try:
            problem = cast("dict[str, object]", loads(response.content))
            code, detail = str(problem["code"]), str(problem["detail"])
        except (ValueError, TypeError, KeyError):
            raise StoreError(
                f"{self._url} answered {response.status_code} in words that are not Aegis's; is a governor there?",
                reason="malformed",
            ) from None
        kind = _BY_CODE.get(code) or _BY_STATUS.get(response.status_code, StoreError)
        facts = {name: value for name, value in problem.items() if name not in _STANDARD and name != "message"}
        raise kind(detail, code=code, **facts)


class RemoteJournal:
    """The journal of a governor over HTTP."""

    def __init__(self, governor: RemoteGovernor) -> None:
        self._governor = governor

    async def write(self, message: JournalRequest, *, token: str | None = None) -> JournalEntry:
        """As `Journal.write`."""
        return await self._governor.write_journal(message, token)
