"""Tests of the Lua scripts, alone and against a model."""

import pytest

pytest.register_assert_rewrite("scripts.machine", "scripts.bench", "scripts.walk")
