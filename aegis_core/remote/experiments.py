"""Shadow experiments over HTTP."""

from __future__ import annotations

from aegis_core.protocol.experiments import (
    Experiment,
    ExperimentChange,
    ExperimentExplanation,
    Experiments,
    ExperimentStart,
    PairNoted,
    PairPost,
)
from aegis_core.remote.calls import Call, segment


class RemoteExperiments:
    """The same as `TenantExperiments`, as far as its callers are not the server itself."""

    def __init__(self, call: Call, token: str | None) -> None:
        self._call, self._token = call, token

    async def all(self) -> Experiments:
        """As `TenantExperiments.all`."""
        return await self._call("GET", "/kaizen/experiments", Experiments, token=self._token, retry=True)

    async def start(self, wish: ExperimentStart, *, author: str = "operator") -> Experiment:  # noqa: ARG002
        """As `TenantExperiments.start`; the server takes the author from the credential."""
        path = "/kaizen/experiments"
        return await self._call("POST", path, Experiment, body=wish, token=self._token, retry=True)

    async def change(self, name: str, wish: ExperimentChange, *, author: str = "operator") -> Experiment:  # noqa: ARG002
        """As `TenantExperiments.change`."""
        path = f"/kaizen/experiments/{segment(name)}"
        return await self._call("POST", path, Experiment, body=wish, token=self._token, retry=True)

    async def explain(self, name: str) -> ExperimentExplanation:
        """As `TenantExperiments.explain`."""
        path = f"/kaizen/experiments/{segment(name)}"
        return await self._call("GET", path, ExperimentExplanation, token=self._token, retry=True)

    async def post(self, pair: PairPost) -> PairNoted:
        """As `TenantExperiments.post`."""
        return await self._call("POST", "/kaizen/pairs", PairNoted, body=pair, token=self._token, retry=True)
