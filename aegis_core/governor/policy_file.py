"""``AEGIS_POLICY_FILE``: rules put in force at each start, and never silently in place of what somebody published."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aegis_core.policy.engine import Policy
from aegis_core.protocol.errors import ConfigurationError, ConflictError
from aegis_core.settings import Settings

if TYPE_CHECKING:
    from aegis_core.governor.governor import ResourceGovernor

_TRIES = 4
_OF_FILES, _FIRST = "file ", 1
REPLACES = "AEGIS_POLICY_FILE_REPLACES"
_log = logging.getLogger("aegis.policy")


async def publish_file(governor: ResourceGovernor, policy: Policy, settings: Settings) -> None:
    """Publish the rules of a file, in place of those of a file or those that a tenant begins with.

    Args:
        governor: of the tenant.
        policy: what the file says.
        settings: which file that is, and whether it also replaces what a person, or Kaizen, published.

    Raises:
        ConfigurationError: somebody published other rules since, and the settings do not say that they are replaced.
    """
    path = settings.policy_file
    for _ in range(_TRIES):
        present = (await governor.operator.policy_history(most=1))[0]
        if present.digest == policy.digest:
            return
        if not (settings.policy_file_replaces or present.version == _FIRST or present.author.startswith(_OF_FILES)):
            raise ConfigurationError(
                f"{path} would replace version {present.version} of the policy, which {present.author} published at "
                f"{present.at:%Y-%m-%d %H:%M} UTC. Put those rules into the file (aegis policy diff {path} shows them) "
                f"or say {REPLACES}=true.",
                field="AEGIS_POLICY_FILE",
            )
        if settings.is_embedded and not settings.use_fake_redis:  # which nobody shares
            _, before = await governor.operator.policy_version(present.version)
            _log.warning(replaces(settings, governor.tenant, present.version, before))
        try:
            await governor.publish_policy(policy, author=f"{_OF_FILES}{path}", expected=present.version)
        except ConflictError:
            continue  # somebody else did; see again
        return
    raise ConfigurationError(f"{path}: the policy changes faster than it can be read.", field="AEGIS_POLICY_FILE")


def replaces(settings: Settings, tenant: str, version: int, present: Policy) -> str:
    """What the file would do on an embedded server."""
    return (
        f"{settings.policy_file} replaces version {version} of the policy of tenant {tenant}, {len(present.rules)} "
        "rules, on the embedded server, which all programs of this user share."
    )
