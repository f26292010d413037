"""``aegis route explain``, ``export`` and ``reset``: the choice as the tenant's outcomes make it now."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli.common import (
    JsonFlag,
    TenantOption,
    dollars,
    print_json,
    shown,
    stdout_console,
    whoami,
    with_resources,
)
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.arbiter.arbiter import Appraisal
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.protocol.messages import PermissionRequest, Routing

_HEAD, _TAIL = 4_000, 3_900


def explain(
    prompt: Annotated[
        str,
        typer.Argument(help="The task, in the agent's own words; - reads it from standard input.", show_default=False),
    ],
    task_type: Annotated[str | None, typer.Option(help="The kind of task.", show_default=False)] = None,
    density: Annotated[int, typer.Option(min=1, max=10, help="The logic density that the agent declares.")] = 5,
    agent: Annotated[str, typer.Option(help="The agent that asks.")] = "anyone",
    max_output_tokens: Annotated[int | None, typer.Option(min=0, help="Of the answer.", show_default=False)] = None,
    ceiling: Annotated[
        str | None, typer.Option(metavar="USD", help="The most it may cost.", show_default=False)
    ] = None,
    cheap_first: Annotated[bool, typer.Option("--cheap-first", help="A cheap answer is verified first.")] = False,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Say which model would be recommended for a prompt, and why. Nothing is decided or reserved.

    The policy in force counts where it says which models may be used.

    Example: aegis route explain "Summarise the proposals" --task-type summary --density 3
    """
    from aegis_core.protocol.messages import PermissionRequest
    from aegis_core.protocol.parsing import parse

    size = len(prompt.encode("utf-8", "surrogatepass"))
    if prompt == "-":
        data = sys.stdin.buffer.read()
        prompt, size = data.decode("utf-8", "replace"), len(data)
    said = prompt if len(prompt) <= _HEAD + _TAIL else f"{prompt[:_HEAD]} {prompt[-_TAIL:]}"
    request = parse(
        PermissionRequest,
        agent_id=agent,
        task_intent=said if said.strip() else "(empty)",
        resource_type="llm_tokens",
        prompt_bytes=size,
        max_output_tokens=max_output_tokens,
        task_type=task_type,
        logic_density=density,
        verify="cheap_first" if cheap_first else None,
        requirements={"ceiling_usd": ceiling} if ceiling is not None else None,
    )

    async def look(governor: ResourceGovernor) -> Appraisal:
        return governor.arbiter.appraise(
            request, await _permitted(governor, request), await governor.outcomes.refresh()
        )

    appraisal = with_resources(tenant, look)
    if not appraisal.candidates:
        raise InvalidRequestError(f"No model would be recommended: {appraisal.note}", field="prompt")
    routing = _routing(appraisal)
    if json:
        print_json(_as_json(request, appraisal, routing))
    else:
        _print(appraisal, routing)


def export(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Show the table of outcomes: how well each model did, by task type, and by agent and density.

    Example: aegis route export --json > outcomes.json
    """
    version, rows = with_resources(tenant, lambda governor: governor.outcomes.export())
    if json:
        print_json({"version": version, "rows": rows})
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("model", "task type", "agent", "density"):
        table.add_column(name, no_wrap=True)
    table.add_column("outcomes", justify="right")
    table.add_column("mean", justify="right")
    for row in rows:
        density = "" if row.logic_density is None else str(row.logic_density)
        names = (shown(row.model), shown(row.task_type or ""), shown(row.agent_id or ""), density)
        table.add_row(*names, f"{row.outcomes:.1f}", f"{row.mean:.3f}")
    console = stdout_console()
    console.print(table if rows else "No outcome was reported yet; grant.settle(..., outcome=0..1) reports one.")


def reset(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Forget every outcome: the choice of models starts again from the declared density.

    Example: aegis route reset --tenant acme
    """
    rows = with_resources(tenant, lambda governor: governor.outcomes.reset(author=whoami()))
    if json:
        print_json({"rows": rows})
    else:
        stdout_console().print(f"Forgot {rows} rows.")


async def _permitted(governor: ResourceGovernor, request: PermissionRequest) -> tuple[str, ...]:
    """The only models that the policy in force allows for a request, best first; none: it leaves the choice open."""
    from aegis_core.policy.facts import AgentFacts

    _, policy = await governor.operator.policy_version()
    labels = (await governor.operator.profiles()).of(request.agent_id).labels
    return policy.evaluate(request, AgentFacts(request.agent_id, labels=labels), await governor.clock()).models


def _routing(appraisal: Appraisal) -> Routing:
    """What the verdict of the first candidate would say."""
    from aegis_core.arbiter.why import routing_of

    about, *lines = (appraisal.why or "").split("\n")
    found = routing_of(f"{about}\n{lines[0]}")
    assert found is not None
    return found


def _as_json(request: PermissionRequest, appraisal: Appraisal, routing: Routing) -> dict[str, object]:
    from aegis_core.protocol.money import to_usd

    return {
        "recommended_model": appraisal.recommended,
        "candidates": [{"model": name, "reserves_usd": to_usd(nanos)} for name, nanos in appraisal.candidates],
        "task_type": request.task_type,
        "logic_density": request.logic_density,
        "routing": routing,
    }


def _print(appraisal: Appraisal, routing: Routing) -> None:
    from aegis_core.protocol.money import to_usd

    console = stdout_console()
    console.print(f"[bold]{shown(routing.model)}[/bold]")
    console.print(f"  {appraisal.note}", markup=False)
    console.print(f"  {routing.note}", markup=False)
    console.print(
        f"  expected quality {routing.expected_quality:.3f}, at least {routing.quality_bound:.3f} (95 %), "
        f"from {routing.outcomes} outcomes (table version {routing.outcomes_version})",
        markup=False,
    )
    console.print(
        f"  expected cost {dollars(routing.expected_cost_usd)}; always {routing.strongest_model}: "
        f"{dollars(routing.strongest_cost_usd)} ({routing.price_version})",
        markup=False,
    )
    if routing.escalation_model:
        console.print(f"  when its answer does not pass: {routing.escalation_model}", markup=False)
    kept = ", ".join(f"{name} {dollars(to_usd(nanos))}" for name, nanos in appraisal.candidates)
    console.print(f"  in this order, with what each reserves: {kept}", markup=False)
