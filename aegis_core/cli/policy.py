"""``aegis policy``: read, try, compare and change the rules. Checking, comparing files and testing need no server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_core.cli import policy_page as page
from aegis_core.cli.common import JsonFlag, TenantOption, print_json, shown, stdout_console, whoami, with_resources
from aegis_core.connect import read_policy_file
from aegis_core.policy import AgentFacts, Policy
from aegis_core.policy.diff import Change, compare
from aegis_core.policy.engine import plain_rule
from aegis_core.policy.trials import read_trials, run_trial
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import to_nanos
from aegis_core.protocol.parsing import parse

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor
    from aegis_core.governor.operators import PolicyVersion

app = typer.Typer(
    help="Read, try, compare and change the rules.\n\nExample: aegis policy explain 'Transfer 5 SUI' --priority 5",
    no_args_is_help=True,
)

FileArgument = Annotated[Path, typer.Argument(help="A rules file.", show_default=False)]
AuthorOption = Annotated[
    str | None, typer.Option("--author", help="Who is recorded as the author; default: who you are here.")
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="A rules file; default: the policy in force.", show_default=False)
]


@app.command()
def check(file: FileArgument, json: JsonFlag = False) -> None:
    """Say whether a rules file can be used, and if not, what to mend on which line.

    Example: aegis policy check rules.json
    """
    policy = read_policy_file(file)
    effects = page.effects(policy)
    if json:
        print_json({"rules": len(policy.rules), "digest": policy.digest, "effects": effects})
        return
    listed = ", ".join(f"{count} {effect}" for effect, count in effects.items())
    typer.echo(f"{file}: {page.count_of_rules(policy)}{f' ({listed})' if listed else ''}, {policy.digest[:12]}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="A", help="A rules file.", show_default=False)],
    new: Annotated[
        Path | None,
        typer.Argument(metavar="[B]", help="Another; without it A is compared with the policy in force."),
    ] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """List the rules that differ: what leads from A to B, or from the policy in force to A.

    Example: aegis policy diff rules.json new-rules.json
    """
    if new is None:
        changes = compare(_in_force(tenant)[1], read_policy_file(old))
    else:
        changes = compare(read_policy_file(old), read_policy_file(new))
    if json:
        print_json(changes)
    else:
        _print(page.changed(changes))


@app.command()
def apply(file: FileArgument, author: AuthorOption = None, tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """Put a rules file in force: it decides the very next request in every process.

    Example: aegis policy apply rules.json --author dana
    """
    policy = read_policy_file(file)

    async def work(governor: ResourceGovernor) -> tuple[int, list[Change], bool]:
        version, present = await governor.operator.policy_version()
        if present.digest == policy.digest:
            return version, [], False
        published = await governor.publish_policy(policy, author=author or whoami(), expected=version)
        return published, compare(present, policy), True

    version, changes, applied = with_resources(tenant, work)
    if json:
        print_json({"version": version, "applied": applied, "changes": changes})
        return
    if applied:
        _print(page.changed(changes))
    typer.echo(f"Version {version} is in force{'' if applied else ' already; nothing changed'}.")


@app.command()
def history(tenant: TenantOption = None, json: JsonFlag = False) -> None:
    """List the versions that are kept, newest first.

    Example: aegis policy history
    """
    found: list[PolicyVersion] = with_resources(tenant, lambda governor: governor.operator.policy_history())
    if json:
        print_json(found)
        return
    table = page.table("version", "rules", "from", "at (UTC)", "author", "digest")
    for each in found:
        table.add_row(
            str(each.version), str(each.rules), "" if each.parent is None else str(each.parent),
            f"{each.at:%Y-%m-%d %H:%M:%S}", shown(each.author), each.digest[:12],
        )  # fmt: skip
    stdout_console().print(table)


@app.command()
def rollback(
    version: Annotated[int, typer.Argument(min=1, help="The version whose rules shall hold again.")],
    author: AuthorOption = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Put the rules of an earlier version in force again, as a new version.

    Example: aegis policy rollback 3
    """

    async def work(governor: ResourceGovernor) -> tuple[int, list[Change]]:
        now, present = await governor.operator.policy_version()
        _, policy = await governor.operator.policy_version(version)
        published = await governor.publish_policy(policy, author=author or whoami(), expected=now)
        return published, compare(present, policy)

    made, changes = with_resources(tenant, work)
    if json:
        print_json({"version": made, "rules_of": version, "changes": changes})
        return
    _print(page.changed(changes))
    typer.echo(f"Version {made} is in force: the rules of version {version} again.")


@app.command()
def show(
    version: Annotated[int | None, typer.Argument(min=1, help="A version; default: the one in force.")] = None,
    tenant: TenantOption = None,
    json: Annotated[bool, typer.Option("--json", help="The document, which `apply` reads.")] = False,
) -> None:
    """Show the rules in force, or those of a version.

    Example: aegis policy show --json > rules.json
    """
    number, policy = _in_force(tenant, version)
    if json:
        print_json({"schema": 1, "rules": [plain_rule(rule) for rule in policy.rules]})
        return
    console = stdout_console()
    console.print(f"Version {number}: {page.count_of_rules(policy)}, {policy.digest[:12]}")
    rules = [(rule.effect, rule.enabled, rule.observed, plain_rule(rule)) for rule in policy.rules]
    console.print(page.rules_table(rules))


@app.command()
def explain(
    intent: Annotated[str, typer.Argument(help="What the agent says it wants to do.", show_default=False)],
    policy: PolicyOption = None,
    resource_type: Annotated[str, typer.Option(help="llm_tokens, api_call, gas_budget …")] = "api_call",
    cost: Annotated[str | None, typer.Option(metavar="USD", help="The estimated cost.", show_default=False)] = None,
    priority: Annotated[int, typer.Option(min=1, max=10)] = 5,
    confidence: Annotated[float | None, typer.Option(show_default=False)] = None,
    tool: Annotated[str | None, typer.Option(show_default=False)] = None,
    target: Annotated[str | None, typer.Option(help="The target resource.", show_default=False)] = None,
    task_type: Annotated[str | None, typer.Option(show_default=False)] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", show_default=False)] = None,
    agent: Annotated[str, typer.Option(help="The agent's id.")] = "agent",
    capability: Annotated[list[str] | None, typer.Option(help="One the agent has.", show_default=False)] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", show_default=False)] = None,
    max_priority: Annotated[int, typer.Option(min=1, max=10, help="The highest the agent may claim.")] = 10,
    at: Annotated[str | None, typer.Option(help="2026-03-27T03:00+01:00; default: now.", show_default=False)] = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Say of every rule whether a request would match it and why, and what the ruling would be. Nothing is asked.

    Example: aegis policy explain "Deploy to mainnet" --policy rules.json --label environment=testnet
    """
    request = parse(
        PermissionRequest, agent_id=agent, task_intent=intent, resource_type=resource_type, estimated_cost_usd=cost,
        priority=priority, confidence=confidence, tool=tool, target_resource=target, task_type=task_type,
        metadata=_pairs(metadata, "--metadata"),
    )  # fmt: skip
    facts = AgentFacts(agent, "custom", frozenset(capability or ()), max_priority, _pairs(label, "--label"))
    rules = read_policy_file(policy) if policy else _in_force(tenant)[1]
    _explain(rules, request, facts, _moment(at), json=json)


def _explain(rules: Policy, request: PermissionRequest, facts: AgentFacts, now: datetime, *, json: bool) -> None:
    ruling, told = rules.evaluate(request, facts, now), rules.explain(request, facts, now=now)
    if request.estimated_cost_usd is not None:
        ruling = ruling.at(to_nanos(request.estimated_cost_usd))
    if json:
        print_json({"ruling": {**asdict(ruling), "would_be": ruling.would_be}, "rules": told})
        return
    console = stdout_console()
    console.print(page.explained(told))
    console.print()
    console.print(page.ruled(ruling))


@app.command("test")
def run_cases(
    cases: Annotated[Path, typer.Argument(help="A JSON file of cases.", show_default=False)],
    policy: PolicyOption = None,
    tenant: TenantOption = None,
    json: JsonFlag = False,
) -> None:
    """Judge every case of a file, and fail when one is not decided as it expects.

    A case: {"name": …, "request": {"task_intent": …}, "agent": {"capabilities": […]}, "expect": "deny", "rule": …}

    Example: aegis policy test cases.json --policy rules.json
    """
    try:
        trials = read_trials(cases.read_bytes(), str(cases))
    except OSError as error:
        raise InvalidRequestError(f"{cases}: cannot be read: {error.strerror}", field="cases") from None
    rules = read_policy_file(policy) if policy else _in_force(tenant)[1]
    outcomes = [run_trial(rules, trial) for trial in trials]
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if json:
        print_json(
            {"passed": len(outcomes) - len(failed), "failed": len(failed), "cases": list(map(page.case_of, outcomes))}
        )
    else:
        for outcome in failed:
            stdout_console().print(page.failure(outcome))
        typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} cases are decided as expected.")
    if failed:
        raise typer.Exit(1)


def _in_force(tenant: str | None, version: int | None = None) -> tuple[int, Policy]:
    """The policy in force, or a version of it, with its number."""

    return with_resources(tenant, lambda governor: governor.operator.policy_version(version))


def _print(lines: Iterable[str]) -> None:
    console = stdout_console()
    for line in lines:
        console.print(line)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"{option}: {text!r} must be key=value", field=option, problem="is not key=value")
        pairs[key] = value
    return pairs


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        problem = f"{text!r} is not a time such as 2026-03-27T03:00+01:00"
        raise InvalidRequestError(f"--at: {problem}", field="--at", problem=problem) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
