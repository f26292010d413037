"""Variables that begin as the settings do and are none: misspelt, they would leave a default in force."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from aegis_core.protocol.errors import ConfigurationError

_PREFIX = "AEGIS_"
_MOST_UNKNOWN = 5
_OF_KUBERNETES = re.compile(r"AEGIS_(\w+_)?(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""What Kubernetes and Docker's links tell each container of a service or container named ``aegis`` or ``aegis-…``."""
_LINK = re.compile(r"(tcp|udp|sctp)://[\w.\[\]:]+")


def refuse_misspelt(variables: Mapping[str, str | None], place: str, settings: Sequence[str]) -> None:
    """Refuse variables that are called as a setting and are none.

    Args:
        variables: names to values; those without one are ignored, as is what Kubernetes says of services.
        place: where they stand, for the message.
        settings: the names of all settings, in lower case and without their prefix.

    Raises:
        ConfigurationError: names each of them, with the nearest setting. Facts: ``field``, ``nearest``.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in settings}
    names = sorted(name.upper() for name, value in variables.items() if value and not _is_link(name.upper(), value))
    unknown = [name for name in names if name.startswith(_PREFIX) and name not in known]
    if not unknown:
        return
    nearest = [_nearest(name.removeprefix(_PREFIX), settings) for name in unknown]
    told = [
        f"{name[:100]} is not a setting" + (f" (did you mean {near}?)" if near else "")
        for name, near in zip(unknown[:_MOST_UNKNOWN], nearest, strict=False)
    ]
    more = f", nor are {len(unknown) - _MOST_UNKNOWN} more" if len(unknown) > _MOST_UNKNOWN else ""
    raise ConfigurationError(
        f"In {place}, {', '.join(told)}{more}; nothing was started. Correct or remove it; "
        "docs/operations.md says where all settings are listed.",
        field=unknown[0],
        nearest=nearest[0],
    )


def _nearest(name: str, settings: Sequence[str]) -> str | None:
    """Told apart by what follows the prefix, which alone makes any two alike."""
    found = get_close_matches(name[:100].lower(), settings, 1)
    return f"{_PREFIX}{found[0].upper()}" if found else None


def _is_link(name: str, value: str) -> bool:
    return bool(_OF_KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and _LINK.fullmatch(value)))
