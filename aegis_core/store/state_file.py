"""A file of the operator in which processes note what they found on Redis, for one that starts when it is gone."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.store import layout
from aegis_core.store.lost_state import lost

if TYPE_CHECKING:
    from aegis_core.store.store import Store


class StateFile:
    """By the address of a store the tenants that were found there, each with the name of that database."""

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser()

    async def check(self, store: Store, tenant: str) -> None:
        """See that what was found before is there.

        Raises:
            StateLostError: the tenant was there, and it or the whole database is gone.
            ConfigurationError: the file cannot be read.
        """
        birth = self._read().get(store.address.shown, {}).get(tenant)
        if birth is not None and not (birth == await _birth(store) and await is_there(store, tenant)):
            raise lost(tenant)

    async def note(self, store: Store, tenant: str) -> None:
        """Note that a tenant is there. Raises ConfigurationError: the file cannot be read or written."""
        content, birth = self._read(), await _birth(store)
        tenants = content.setdefault(store.address.shown, {})
        if tenants.get(tenant) != birth:
            tenants[tenant] = birth
            self._write(content)

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def _write(self, content: dict[str, Any]) -> None:
        """Whole or not at all, so that a crash leaves the one before."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            Path(file.name).replace(self._path)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(f"AEGIS_STATE_FILE, {self._path}: {error}", file=str(self._path))


async def _birth(store: Store) -> str:
    return (await store.command("GET", layout.BIRTH_KEY) or b"").decode()


async def is_there(store: Store, tenant: str) -> bool:
    """Whether a tenant is on a store."""
    return bool(await store.command("EXISTS", layout.root(tenant)))


async def check(store: Store, tenant: str, path: Path | None, *, expected: bool) -> None:
    """See that the state of a tenant is there, where it is `expected` or the file at `path` says that it was.

    Raises:
        StateLostError: it is not. ConfigurationError: the file cannot be read.
    """
    if expected and not await is_there(store, tenant):
        raise lost(tenant)
    if path is not None:
        await StateFile(path).check(store, tenant)


async def note(store: Store, tenant: str, path: Path | None) -> None:
    """Note in the file, if there is one, that a tenant is there. Raises ConfigurationError: it cannot be written."""
    if path is not None:
        await StateFile(path).note(store, tenant)
