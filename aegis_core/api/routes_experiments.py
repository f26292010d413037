"""Shadow experiments: begun, changed and looked at by operators; pairs from programs that run them elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from aegis_core.api.routing import ACTING, PREFIX, READING, GuardedRoute, Writer, auth_of, overseen, read
from aegis_core.api.schemas import body, security
from aegis_core.protocol.experiments import (
    Experiment,
    ExperimentChange,
    ExperimentExplanation,
    Experiments,
    ExperimentStart,
    PairNoted,
    PairPost,
)

router = APIRouter(prefix=PREFIX, route_class=GuardedRoute)
_all, _one, _explanation, _noted = map(Writer, (Experiments, Experiment, ExperimentExplanation, PairNoted))

ExperimentId = Annotated[str, Path(pattern=r"^x-[0-9a-f]{8}(-[0-9]{1,4})?$", description="Its id.")]


@router.get(
    "/kaizen/experiments", tags=["Operators"], summary="Shadow experiments",
    response_model=Experiments, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def experiments(request: Request) -> Response:
    """All that are kept, the newest first: what they show, and how many more pairs they probably need."""
    return _all(await (await overseen(request)).experiments.all())


@router.post(
    "/kaizen/experiments", tags=["Operators"], summary="Begin a shadow experiment",
    response_model=Experiment, responses=ACTING, openapi_extra=body(ExperimentStart, operator=True),
)  # fmt: skip
async def start(request: Request) -> Response:
    """This is the consent to send such prompts to the candidate's provider. The same again changes nothing."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, ExperimentStart)
    return _one(await caller.context.governor.experiments.start(wish, author=caller.name))


@router.get(
    "/kaizen/experiments/{experiment_id}", tags=["Operators"], summary="One experiment and its course",
    response_model=ExperimentExplanation, responses=READING, openapi_extra=security(),
)  # fmt: skip
async def experiment(request: Request, experiment_id: ExperimentId) -> Response:
    """The ratio of the scores, its lower bound and the e-value, after more and more pairs."""
    return _explanation(await (await overseen(request)).experiments.explain(experiment_id))


@router.post(
    "/kaizen/experiments/{experiment_id}", tags=["Operators"], summary="Pause, resume, stop or confirm",
    response_model=Experiment, responses=ACTING, openapi_extra=body(ExperimentChange, operator=True),
)  # fmt: skip
async def change(request: Request, experiment_id: ExperimentId) -> Response:
    """To confirm is to certify on a judge's word, without labelled pairs; the log keeps who did."""
    caller = await auth_of(request).operator(request)
    wish = await read(request, ExperimentChange)
    return _one(await caller.context.governor.experiments.change(experiment_id, wish, author=caller.name))


@router.post(
    "/kaizen/pairs", tags=["Operators"], summary="Post the scores of a pair",
    response_model=PairNoted, responses=ACTING, openapi_extra=body(PairPost, operator=True),
)  # fmt: skip
async def post_pair(request: Request) -> Response:
    """For operators, and agents whose profile trusts their settlements. The same request again changes nothing."""
    auth = auth_of(request)
    caller = await auth.asker(request)
    await auth.confirm(request)
    caller = await auth.caller(request)
    pair = await read(request, PairPost)
    agent = None if caller.governs else caller.agent or ""
    return _noted(await caller.context.governor.experiments.post(pair, agent=agent))
