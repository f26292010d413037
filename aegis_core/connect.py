"""The composition root: from settings to a governor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aegis_core.client.agent import Governor
from aegis_core.client.sync import Portal, SyncGovernor
from aegis_core.protocol.errors import ConfigurationError, NotFoundError, PolicyError
from aegis_core.protocol.hosts import is_loopback
from aegis_core.protocol.money import to_nanos
from aegis_core.settings import Settings, load_settings

if TYPE_CHECKING:
    from aegis_core.arbiter.catalog import Catalog
    from aegis_core.arbiter.routing.gain import GainModel
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.operators import Operator
    from aegis_core.governor.tenant import TenantStore
    from aegis_core.policy.engine import Policy
    from aegis_core.store.schema import Config
    from aegis_core.store.store import Store


@asynccontextmanager
async def connect(
    url: str | None = None, *, tenant: str | None = None, token: str | None = None, settings: Settings | None = None
) -> AsyncGenerator[Governor]:
    """Connect to a governor: on Redis (embedded when no URL says otherwise), or a remote one over HTTP.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://``, ``redis+cluster://``, ``http(s)://``;
            default: ``AEGIS_URL``, else the embedded server.
        tenant: the isolated pool of agents, budgets and policy; default ``AEGIS_TENANT``.
        token: the credential for a remote governor: an API key or the operator secret; default ``AEGIS_API_KEY``, else
            ``AEGIS_OPERATOR_SECRET``.
        settings: everything else; default: the environment.

    Raises:
        ConfigurationError: a setting or a server that cannot be used, or a key that anybody on the way could read.
        StoreError: the server cannot be reached.
    """
    settings = with_overrides(settings, url=url, tenant=tenant)
    # A child that is forked later finds the rules in force, which an operator may have changed since.
    anew = partial(connect, token=token, settings=settings.model_copy(update={"policy_file": None}))
    if not settings.is_embedded and settings.url.startswith(("http://", "https://")):
        from aegis_core.remote.governor import RemoteGovernor

        remote = RemoteGovernor(settings.url, tenant=settings.tenant, token=credential(settings, token))
        try:
            yield Governor(remote, anew)
        finally:
            await remote.aclose()
        return
    from aegis_core.chains.book import opened_chains
    from aegis_core.governor.chain_watch import watched_chains
    from aegis_core.governor.repricing import watched_prices
    from aegis_core.governor.spending_watch import watched_spending

    store = await open_store(settings)
    try:
        governor = await open_governor(store, settings)
        try:
            async with (
                opened_chains(settings.chains_file) as governor.transactions.chains,
                watched_chains(governor.transactions),
                watched_prices(settings, governor.arbiter, governor.operator),
                watched_spending(governor, settings.estimated_alert_percent),
                watched_store(store),
            ):
                yield Governor(governor, anew)
        finally:
            await governor.aclose()
    finally:
        await store.aclose()


@contextmanager
def connect_sync(
    url: str | None = None, *, tenant: str | None = None, token: str | None = None, settings: Settings | None = None
) -> Generator[SyncGovernor, None, None]:
    """`connect` for plain code. Usable from many threads, inside a running event loop, and in forked children.

    A child connects anew by itself when it first asks; what its parent holds stays the parent's.
    """
    portal = Portal()
    try:
        governor = portal.enter(connect(url, tenant=tenant, token=token, settings=settings))
        governor.connection.live_in(portal)
        yield SyncGovernor(portal, governor)
    finally:
        portal.close()


def credential(settings: Settings, token: str | None = None) -> str | None:
    """The credential for a remote governor. Over plain HTTP it stays on this machine.

    Raises:
        ConfigurationError: it would leave it, and the settings do not allow that.
    """
    secret = settings.api_key or settings.operator_secret
    token = token or (secret.get_secret_value() if secret else None)
    address = urlsplit(settings.url)
    if token and address.scheme == "http" and not settings.allow_plain_http and not is_loopback(address.hostname or ""):
        raise ConfigurationError(
            f"{settings.url} would carry the key in plain http beyond this machine: use https, or allow it with "
            "AEGIS_ALLOW_PLAIN_HTTP=true.",
            field="AEGIS_URL",
        )
    return token


def with_overrides(settings: Settings | None, **given: object) -> Settings:
    """The settings given (or those of the environment), with the arguments that are not None on top."""
    overrides = {name: value for name, value in given.items() if value is not None}
    if settings is None:
        return load_settings(working_directory=False, **overrides)
    return settings.model_copy(update=overrides) if overrides else settings


async def open_store(settings: Settings, *, throwaway: bool = False, virtual_time: bool = False) -> Store:
    """Open the Redis of the settings, or an embedded one. A `throwaway` one ends with this process.

    Raises:
        ConfigurationError: a server that Aegis must not run on.
        StoreError: it cannot be reached.
    """
    from aegis_core.store.store import open_store as opened

    return await opened(settings, throwaway=throwaway, virtual_time=virtual_time)


def watched_store(store: Store) -> AbstractAsyncContextManager[None]:
    """In the block, what changes on the server is noticed: an eviction policy, or that it was emptied."""
    from aegis_core.store.lost_state import watched_state

    return watched_state(store.state)


def tenant_store(store: Store, tenant: str) -> TenantStore:
    """A tenant's store without a governor; whether there is such a tenant is not looked at."""
    from aegis_core.governor.tenant import TenantStore
    from aegis_core.store.ledger import Ledger

    return TenantStore(Ledger(store, tenant))


def operator_of(store: Store, tenant: str) -> Operator:
    """The operator's side of a tenant without a governor."""
    from aegis_core.governor.operators import Operator
    from aegis_core.store.ledger import Ledger
    from aegis_core.store.operators import OperatorStore

    return Operator(OperatorStore(Ledger(store, tenant)))


async def open_governor(store: Store, settings: Settings, *, tenant: str | None = None) -> ResourceGovernor:
    """Make sure that the tenant exists, and build its governor on an open store.

    Raises:
        PolicyError: ``AEGIS_POLICY_FILE`` cannot be loaded; the policy in force stays. ConfigurationError: it would
            replace what somebody published.
    """
    from aegis_core.arbiter.arbiter import Arbiter
    from aegis_core.arbiter.book import price_book
    from aegis_core.arbiter.catalog import load_catalog
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.policy_file import publish_file
    from aegis_core.governor.proposal_making import terms_of
    from aegis_core.policy.loading import default_policy, load_policy
    from aegis_core.store.layout import TENANTS_KEY
    from aegis_core.store.ledger import Ledger
    from aegis_core.store.state_file import note

    published = read_policy_file(settings.policy_file) if settings.policy_file else None
    catalog = load_catalog(settings.catalog_file)
    ledger = Ledger(store, tenant or settings.tenant)
    first = default_policy()
    await check_expected(store, settings, ledger.tenant)
    _, now = await ledger.open(
        config_of(settings), settings.timezone, to_nanos(settings.tenant_day_usd), first.document, first.digest
    )
    await store.command("SADD", TENANTS_KEY, ledger.tenant)
    version, document = await ledger.read_policy()
    policy = first if document == first.document else load_policy(document, f"policy version {version}")
    prices = price_book(catalog, settings)
    forecast = settings.reservation == "forecast"
    arbiter = Arbiter(catalog, prices, read_routing_file(settings.routing_file, catalog))
    governor = ResourceGovernor(ledger, arbiter, (version, policy), now, forecast=forecast)
    governor.experiments.cap, governor.optimizer.terms = settings.shadow_day_usd, terms_of(settings)
    await governor.operator.note_prices(prices.version)
    await note(store, ledger.tenant, settings.state_file)
    if published is not None:
        await publish_file(governor, published, settings)
    return governor


async def check_expected(store: Store, settings: Settings, tenant: str) -> None:
    """See that the state of a tenant is there, where ``AEGIS_EXPECT_STATE`` or the state file says that it must be.

    Raises:
        StateLostError: it is not.
    """
    from aegis_core.store.state_file import check

    await check(store, tenant, settings.state_file, expected=settings.expect_state)


async def restored(settings: Settings, *, accept_loss: bool, author: str) -> bool:
    """Whether the state of the tenant is there. What is not begins anew where the loss is accepted, with an event.

    Raises:
        StateLostError: it is not, and the loss is not accepted.
    """
    from aegis_core.store.lost_state import part_lost
    from aegis_core.store.state_file import check, is_there, note

    store, tenant = await open_store(settings), settings.tenant
    try:
        if not accept_loss:
            await check(store, tenant, settings.state_file, expected=True)
        whole = not await is_there(store, tenant)
        governor = await open_governor(store, settings.model_copy(update={"expect_state": False, "state_file": None}))
        try:
            gone = await governor.operator.lost_records(author, accept=accept_loss, whole=whole)
        finally:
            await governor.aclose()
        if gone and not accept_loss:
            raise part_lost(f"{gone} agents or budgets")
        await note(store, tenant, settings.state_file)
        return not (whole or gone)
    finally:
        await store.aclose()


async def replacement(store: Store, settings: Settings) -> str | None:
    """What ``AEGIS_POLICY_FILE`` would do to the rules in force on an embedded server, in one sentence; None: nothing.

    All programs of a user share that server, so whoever names the file may not know whose rules they are.

    Raises:
        PolicyError: the file cannot be loaded.
    """
    from aegis_core.governor.policy_file import replaces
    from aegis_core.policy.loading import load_policy
    from aegis_core.store.ledger import Ledger

    if not settings.is_embedded or settings.policy_file is None:
        return None
    try:
        version, document = await Ledger(store, settings.tenant).read_policy()
    except NotFoundError:
        return None
    present = load_policy(document, f"policy version {version}")
    if read_policy_file(settings.policy_file).digest == present.digest:
        return None
    return replaces(settings, settings.tenant, version, present)


async def visit_tenant(home: ResourceGovernor, store: Store, tenant: str) -> ResourceGovernor:
    """A governor of another tenant on the same store, which exists already: its timings, budgets and policy stay.

    Raises:
        NotFoundError: there is no such tenant; none is made.
    """
    from aegis_core.store.ledger import Ledger

    ledger = Ledger(store, tenant)
    version, document, now = await ledger.visit()
    return home.beside(ledger, (version, _compiled(document)), now)


@lru_cache(maxsize=256)
def _compiled(document: str) -> Policy:
    """Tenants by the hundred have few policies between them, and to compile one takes longer than all else."""
    from aegis_core.policy.loading import load_policy

    return load_policy(document, "the policy in force")


def read_policy_file(path: Path) -> Policy:
    """Load a rules file.

    Raises:
        PolicyError: it cannot be read or is not a policy.
    """
    from aegis_core.policy.loading import load_policy

    try:
        text = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}", path=str(path)) from None
    return load_policy(text, str(path))


def read_routing_file(path: Path | None, catalog: Catalog) -> GainModel | None:
    """Load a fitted text model, where one is configured.

    Raises:
        ConfigurationError: it cannot be read, is not one, or is for models between which the catalog has no choice.
    """
    if path is None:
        return None
    from aegis_core.arbiter.routing.gain import load_model
    from aegis_core.arbiter.routing.pairs import refuse_unlisted

    model = load_model(path)
    refuse_unlisted(path, model, catalog)
    return model


def config_of(settings: Settings) -> Config:
    """A tenant's timings and ceilings, as they are stored: milliseconds, counts and nano-dollars."""
    from aegis_core.store.schema import Config

    return Config(
        grant=int(settings.grant_seconds * 1000),
        grant_max=int(max(settings.max_grant_seconds, settings.grant_seconds) * 1000),
        approval=int(settings.approval_seconds * 1000),
        keep=int(settings.idempotency_seconds * 1000),
        transient=60_000,
        idle=int(settings.session_idle_seconds * 1000),
        open=settings.max_open_grants,
        agents=settings.max_agents,
        events=settings.events_kept,
        agent_day=to_nanos(settings.agent_day_usd),
        questions=settings.max_open_approvals,
        refusal=int(settings.refusal_seconds * 1000),
        requests=settings.max_requests_per_second,
        share=settings.pending_share,
        waits=settings.max_lock_waits,
        key_waits=settings.max_lock_waits_per_key,
        key_agents=settings.max_agents_per_key,
        key_locks=settings.max_locks_per_key,
        age=int(settings.events_kept_days * 86_400_000),
    )
