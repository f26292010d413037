"""What is said of a framework that is absent, or of a version that was not tested."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version

from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError

_warned: set[str] = set()


def missing_extra(adapter: str, extra: str) -> ConfigurationError:
    """The error to raise ``from`` an ImportError: one sentence that names the extra."""
    return ConfigurationError(
        f"{adapter} needs a framework that is not installed: {installing(extra)}",
        adapter=adapter,
        extra=extra,
        code="missing_extra",
    )


def warn_outside(distribution: str, at_least: str, below: str) -> None:
    """Warn once when the installed version of a framework is outside the range that the adapter was tested with.

    Args:
        distribution: the name on PyPI, such as ``langchain-core``.
        at_least: the first tested version.
        below: the first version that was not tested.
    """
    try:
        found = version(distribution)
    except PackageNotFoundError:
        return
    if distribution in _warned or _numbers(at_least) <= _numbers(found) < _numbers(below):
        return
    _warned.add(distribution)
    warnings.warn(
        f"{distribution} {found} is outside the range that Aegis was tested with (>={at_least},<{below}); "
        "its extension points may have changed, and with them what is enforced.",
        UserWarning,
        stacklevel=3,
    )


def _numbers(text: str) -> tuple[int, ...]:
    parts: list[int] = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
