"""The errors behind the answers of the script of proposals. Part of what `refusals` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aegis_core.protocol.errors import AegisError, ConflictError

PROPOSAL_REFUSALS: Mapping[str, Callable[[list[Any]], AegisError]] = {
    "OLD_PARENT": lambda answer: ConflictError(
        f"Version {int(answer[1])} of the policy is in force; the proposal was made for version {int(answer[2])}. "
        "Nothing was changed.",
        code="policy_changed",
        version=int(answer[1]),
    ),
    "CANARY_RUNS": lambda answer: ConflictError(
        f"The proposal {answer[1].decode()} is tried at present; one change is tried at a time.", code="canary_runs"
    ),
    "FULL_PROPOSALS": lambda answer: ConflictError(
        f"There are {int(answer[1])} proposals, the most that a tenant may have, and none has ended.",
        code="too_many_proposals",
    ),
}
