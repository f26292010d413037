"""Files in JSON that operators write: read whole and exactly, with words for what is wrong in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.parsing import invalid, without_repeats

_T = TypeVar("_T")

MOST_BYTES = 64_000_000
"""Of a file that says nothing of its own; larger ones were written by mistake."""


def read_json_file(
    path: Path, shape: TypeAdapter[_T], refusal: Callable[[str], ConfigurationError], *, most: int = MOST_BYTES
) -> tuple[_T, bytes]:
    """What a file says, and its bytes. Numbers with a point are decimals, and no key may be given twice.

    Args:
        path: of the file.
        shape: what it must hold.
        refusal: the error for a problem, which it names.
        most: bytes that it may have.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise refusal(f"is larger than {most:,} bytes")
        return shape.validate_python(json.loads(data, parse_float=Decimal, object_pairs_hook=without_repeats)), data
    except OSError as error:
        raise refusal(f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise refusal(invalid(error).message) from None
    except (ValueError, RecursionError) as error:
        raise refusal(f"is not valid JSON: {error}") from None
