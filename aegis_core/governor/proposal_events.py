"""What events say of proposals. Part of what `events` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.store.proposal_records import KaizenMoved


def _moved(body: KaizenMoved) -> tuple[str | None, dict[str, Any]]:
    return None, {
        "proposal_id": body.proposal, "state": body.state, "policy_version": body.parent, "digest": body.digest,
        "percent": body.share, "count": body.n, "log_harm": round(body.log_e, 6), "reason": body.why or None,
        "by": body.author or None,
    }  # fmt: skip


PROPOSAL_FACTS: Mapping[type, Callable[[Any], tuple[str | None, dict[str, Any]]]] = {KaizenMoved: _moved}
