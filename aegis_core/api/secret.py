"""The operator secret, which is an owner's: of the settings, or made once in a file of the server's user."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

import platformdirs

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.hosts import is_loopback
from aegis_core.settings import Settings

SECRET_FILE = "operator-secret"  # noqa: S105 - the name of a file
SHORTEST_SECRET = 16
"""Characters of an operator secret."""


def check_bind(host: str, *, keys: bool) -> None:
    """Refuse to serve other machines while there are no keys.

    Raises:
        ConfigurationError: not a loopback address, and no API key is asked for.
    """
    if not keys and not is_loopback(host):
        raise ConfigurationError(
            f"Without API keys the server may not listen on {host}: everybody who reaches it could spend. "
            "Make one (aegis keys create operator), or use --host 127.0.0.1 (AEGIS_HOST).",
            host=host,
        )


def operator_secret(settings: Settings) -> str:
    """The operator secret of the settings, else the one in the user's data directory, made on first use.

    Raises:
        ConfigurationError: it is too short, the file cannot be used, or others can read it.
    """
    if settings.operator_secret is not None:
        secret = settings.operator_secret.get_secret_value()
        if len(secret) < SHORTEST_SECRET:
            raise ConfigurationError(
                f"AEGIS_OPERATOR_SECRET has fewer than {SHORTEST_SECRET} characters, so it could be guessed; where it "
                "is not set, one is made.",
                field="AEGIS_OPERATOR_SECRET",
            )
        return secret
    path = secret_path(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, f"aegis_op_{secrets.token_urlsafe(32)}\n")
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} is open to other users: chmod 600 {path}", path=str(path))
        secret = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The operator secret cannot be kept in {path}: {error}; set AEGIS_OPERATOR_SECRET"
        ) from None
    if len(secret) < SHORTEST_SECRET:
        raise ConfigurationError(f"{path} holds no secret; remove it, and a new one is made", path=str(path))
    return secret


def secret_path(settings: Settings) -> Path:
    """Where the operator secret lies when the settings hold none."""
    return (settings.data_dir or platformdirs.user_data_path("aegis")).expanduser() / SECRET_FILE


def _write_once(path: Path, text: str) -> None:
    """Write a whole file or none: of several servers that start at once, one wins and the others read its secret."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    try:
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
