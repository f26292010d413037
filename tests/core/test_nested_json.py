"""JSON of others ends nobody's process, though a library has lifted the limit of recursion for all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aegis_core.protocol.parsing import MAX_NESTING, NestingError, loads

READERS = {
    "arguments of a tool": "from aegis_core.protocol.arguments import hash_arguments as read",
    "arguments that are shown": "from aegis_core.protocol.masking import mask_json; read = lambda t: mask_json(t, b'')",
    "arguments of a message": "from aegis_core.adapting.calls import _read as read",
    "an answer of a provider": "from aegis_core.metering.extract import _of_text as read",
    "a line of a trace": "from aegis_core.replay.jsonl_reader import _target as read",
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_survives_brackets_without_end(reader: str) -> None:
    program = (
        f"{READERS[reader]}\nimport sys\nsys.setrecursionlimit(1_000_000)\n"
        f"try: read('{{\"a\": ' + '[' * 200_000)\nexcept ValueError: pass\nprint('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "alive\n", done.stderr


def test_depth_is_counted_in_brackets_that_are_none_of_a_text() -> None:
    assert loads("[" * MAX_NESTING + "]" * MAX_NESTING)
    with pytest.raises(NestingError):
        loads("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1))
    text = '["' + "[{" * 1_000 + '\\"[", "' + "]" * 1_000 + '\\\\", {}]'
    assert loads(text) == loads(text.encode()) == ["[{" * 1_000 + '"[', "]" * 1_000 + "\\", {}]
    wide = "[" + "[[]]," * 1_000 + "[]]"
    assert len(loads(wide)) == 1_001


@pytest.mark.parametrize("wrong", ['"', '"\\', "[" * 600 + '"', b"\xff", "", "[]]" + "[" * 600])
def test_what_is_no_json_is_refused(wrong: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        loads(wrong)
