"""MessagePack as Lua's cmsgpack speaks it: no bin type, bytes and text are both raw strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgpack

_library: Any = msgpack

pack = cast("Callable[[Any], bytes]", _library.Packer(use_bin_type=False, autoreset=True).pack)
unpack = cast("Callable[[bytes], Any]", _library.unpackb)
