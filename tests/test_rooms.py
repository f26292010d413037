"""``make test ROOM=…`` leaves no test out: each file of tests is in a room, and each pattern of a room has a file."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from rooms import ROOMS, TESTS, belongs

FILES = sorted(TESTS.rglob("test_*.py"))


def test_every_file_of_tests_is_in_a_room() -> None:
    assert [file.name for file in FILES if not any(belongs(file, room) for room in ROOMS)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_pattern_of_a_room_has_a_file(room: str) -> None:
    inside = [file.relative_to(TESTS).as_posix() for file in TESTS.rglob("*.py")]
    for pattern in ROOMS[room]:
        assert any(fnmatchcase(name, pattern) for name in inside), f"{room}: no test is called {pattern}"
