"""Shadow models of a governed model: what a cheaper one would have answered, asked later and judged.

It runs where the program has the governor itself. Behind ``aegis serve`` it cannot: a program there posts pairs.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aegis_core.adapting.call_governor import CallGovernor
from aegis_core.adapting.calls import ModelCall
from aegis_core.adapting.reservation import Reservation
from aegis_core.client.agent import GovernedAgent
from aegis_core.kaizen.experiments.judges import Answer, Task
from aegis_core.kaizen.experiments.shadow import Answered, Arm, Asked, NotAskedError, Shadow
from aegis_core.metering.failures import status_of
from aegis_core.protocol.canonical import digest
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import AegisError, ConfigurationError
from aegis_core.protocol.kaizen import OWN_AGENT
from aegis_core.protocol.masking import mask_text
from aegis_core.protocol.messages import Handshake

if TYPE_CHECKING:
    from aegis_core.governor.experiments import TenantExperiments

_log = logging.getLogger("aegis.kaizen")
_DIGITS = re.compile(r"[0-9]+")
_TOO_MANY = 429

Ask = Callable[[Arm, CallGovernor], Awaitable[Answer]]
"""Asks a candidate what the present model was asked, governed by what it is given."""


class ShadowModels:
    """The shadow of the calls of one adapter. `names`: of the models that may be asked."""

    def __init__(self, calls: CallGovernor, names: Sequence[str], judge: object) -> None:
        if not names or not all(hasattr(judge, each) for each in ("name", "version", "score")):
            raise ConfigurationError(
                "shadow_models= takes models by name, together with judge=, such as Verifier(function): who says which "
                "answers are right."
            )
        self._calls, self._names, self._judge = calls, frozenset(names), judge
        self._shadow: Shadow | None = None
        self._trials: OwnTrials | None = None
        self._warned = False

    def after(self, held: Reservation, call: ModelCall, answer: Callable[[], Answer], ask: Ask) -> None:
        """Take a call that was answered; from any thread, and nobody waits for what follows, `answer` included."""
        task_type = self._calls.wished(call).get("task_type")
        if not isinstance(task_type, str) or held.verdict.escalation_id is not None:
            return  # what a person was asked about is shown to nobody else
        self._calls.bridge.post(lambda: self._offer(held, call, task_type, answer, ask))

    async def drain(self) -> None:
        """Wait until nothing is on its way."""
        if self._shadow is not None:
            await self._calls.bridge.await_(self._shadow.drain)

    async def _offer(
        self, held: Reservation, call: ModelCall, task_type: str, answer: Callable[[], Answer], ask: Ask
    ) -> None:
        experiments: TenantExperiments | None = getattr(self._calls.bridge.agent.connection.port, "experiments", None)
        if experiments is None or not hasattr(experiments, "open_pair"):
            if not self._warned:
                _log.warning("shadow models cannot run here: the governor is behind a server; post pairs to it instead")
            self._warned = True
            return
        said = json.dumps([call.messages, list(call.tools)], default=str, ensure_ascii=False)
        if mask_text(said) != said:
            return  # it holds what may be a secret
        if self._shadow is None:
            self._trials = OwnTrials(self._calls, experiments)
            self._shadow = Shadow(self._trials, self._judge)  # type: ignore[arg-type]
        verdict = held.verdict

        async def asked(arm: Arm) -> Asked:
            return await self._asked(arm, task_type, ask)

        task = Task(verdict.request_id, task_type, call.messages, payer=lambda: self._trials and self._trials.agent)
        self._shadow.offer(Answered(task, answer(), held.model or "", verdict.agent_id, asked, template_of(call)))

    async def _asked(self, arm: Arm, task_type: str, ask: Ask) -> Asked:
        own = self._trials.agent if self._trials is not None else None
        if own is None or arm.candidate not in self._names:
            raise NotAskedError
        calls = CallGovernor(
            own, framework=self._calls.framework, approval_seconds=0, intent="Shadow trial", priority=1,
            task_type=task_type, experiment_arm=arm.experiment, propensity=arm.propensity,
        )  # fmt: skip
        return await asked_of(arm, lambda: ask(arm, calls))


async def asked_of(arm: Arm, ask: Callable[[], Awaitable[Answer]]) -> Asked:
    """The answer of a candidate. Every failure of its own is one; a refusal before it was asked is none.

    Raises:
        NotAskedError: it was not asked.
    """
    try:
        return Asked(await ask())
    except AegisError as error:
        if isinstance(error, AegisDenied) and error.__cause__ is not None:
            return Asked(Answer(arm.candidate, failed=True))  # a further attempt was refused, after one that failed
        raise NotAskedError from error
    except Exception as error:  # noqa: BLE001 - of whichever SDK it is
        _log.info("a shadow of %s failed: %s", arm.candidate, type(error).__name__)
        return Asked(Answer(arm.candidate, failed=True), rate_limited=status_of(error) == _TOO_MANY)


class OwnTrials:
    """The experiments of a tenant, and the money for them; as `ShadowPort` has it."""

    def __init__(self, calls: CallGovernor, experiments: TenantExperiments) -> None:
        self._calls = calls
        self.running, self.open_pair, self.score = experiments.running, experiments.open_pair, experiments.score
        self.see = experiments.see
        self._experiments = experiments
        self.agent: GovernedAgent | None = None

    async def renew_limit(self) -> bool:
        """Set the day limit of Aegis's own agent to what it may spend now; it asks in a new session from then on, as
        old ones end."""
        self.agent = await own_agent(self._calls)
        usd = await self._experiments.affordable()
        port = self._calls.bridge.agent.connection.port
        await port.set_budget("agent", OWN_AGENT, "day", usd, author=OWN_AGENT)
        return usd > 0


async def own_agent(calls: CallGovernor) -> GovernedAgent:
    """Aegis's own agent, on the connection of another one."""
    connection = calls.bridge.agent.connection
    session = await connection.port.handshake(Handshake(agent_id=OWN_AGENT, agent_framework=calls.framework))
    await connection.port.label_agent(OWN_AGENT, {"purpose": OWN_AGENT}, author=OWN_AGENT)
    return GovernedAgent(connection, session)


def template_of(call: ModelCall) -> str:
    """A hash of what does not change from request to request: the system's messages and the tools, without digits, as
    many of them hold a date."""
    fixed: list[Mapping[str, Any]] = [each for each in call.messages if each.get("role") in {"system", "developer"}]
    said = json.dumps([fixed, list(call.tools)], default=str, sort_keys=True)
    return digest(_DIGITS.sub("0", said))
