"""The rule types. A new one is a file here, with its class as `RULE`, and its name in the list below."""

from __future__ import annotations

from importlib import import_module

from aegis_core.policy.rules.base import Rule

RULE_TYPES: dict[str, type[Rule]] = {
    name: import_module(f"{__name__}.{name}").RULE
    for name in (
        "agent_blocklist",
        "approval_limit",
        "asset_limit",
        "blocked_intent",
        "capability_required",
        "chain_allowlist",
        "condition",
        "confidence_floor",
        "contract_creation",
        "contract_method",
        "delegation",
        "environment",
        "gas_price_ceiling",
        "lasting_transaction",
        "max_cost",
        "max_gas_usd",
        "max_outflow",
        "max_slippage_bps",
        "model_override",
        "priority_floor",
        "rate_limit",
        "recipient",
        "repeat_limit",
        "sensitive_intent",
        "simulation",
        "spend_rate",
        "time_window",
        "unpriced_asset",
    )
}
"""The class of every rule type, by the name used in a policy document."""

__all__ = ["RULE_TYPES", "Rule"]
