"""Policy documents from text. Whatever is wrong with one becomes one line that names the place and the remedy."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from aegis_core.policy.engine import Policy, compile_policy
from aegis_core.policy.source import MAX_BYTES, Source, locate
from aegis_core.protocol.errors import PolicyError

_DEFAULT = "rules.json"
_WORDS = {
    "Extra data": "expected the end of the document",
    "Unterminated string starting at": "the text that begins here does not end",
    "Invalid control character at": "a line break or control character in a text must be escaped",
    "Expecting property name enclosed in double quotes": "expected a field name in double quotes",
}


def load_policy(text: str | bytes, path: str = "policy") -> Policy:
    """Read a policy document in JSON (UTF-8).

    Args:
        text: the whole document.
        path: its name in messages.

    Raises:
        PolicyError: ``path:line: what is wrong``, with the facts ``path``, ``line``, ``field`` and ``nearest``.
    """
    source = Source(path)
    text = _decode(text, source)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(error, path) from None
    except RecursionError:
        raise source.refuse((), "is nested too deeply") from None
    except ValueError:
        raise source.refuse((), "holds a number of too many digits") from None
    return compile_policy(document, source=locate(text, path))


@cache
def default_policy() -> Policy:
    """The policy that Aegis ships with."""
    return load_policy(files("aegis_core.policy").joinpath(_DEFAULT).read_bytes(), _DEFAULT)


def _decode(text: str | bytes, source: Source) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_BYTES:
            raise source.refuse((), f"is larger than {MAX_BYTES // 1024} KB")
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise source.refuse((), "is not UTF-8 text", line=line) from None
    except UnicodeEncodeError:
        raise source.refuse((), "holds a lone surrogate, which is not text") from None
    return decoded


def _not_json(error: json.JSONDecodeError, path: str) -> PolicyError:
    problem = _WORDS.get(error.msg)
    if problem is None:
        problem = error.msg[:1].lower() + error.msg[1:]
        problem = problem.replace("expecting", "expected", 1)
    return PolicyError(
        f"{path}:{error.lineno}:{error.colno}: is not JSON: {problem}",
        path=path,
        line=error.lineno,
        column=error.colno,
        field="",
        nearest=None,
    )
