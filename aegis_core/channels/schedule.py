"""What is to be looked at, and when."""

from __future__ import annotations

import heapq


class Agenda:
    """Names with times. A name has one time, the earliest that it was given since it was last taken."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def put(self, name: str, at: float) -> None:
        """Look at `name` then; an earlier time that is set already stays."""
        if self._times.get(name, float("inf")) > at:
            self._times[name] = at
            heapq.heappush(self._heap, (at, name))

    def next_at(self) -> float:
        """When the next name is due; never, if there is none."""
        while self._heap and self._times.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # it was taken, or put earlier
        return self._heap[0][0] if self._heap else float("inf")

    def take(self, now: float) -> str | None:
        """The name that has been due for longest, which is off the agenda then."""
        if self.next_at() > now:
            return None
        _, name = heapq.heappop(self._heap)
        del self._times[name]
        return name

    def clear(self) -> None:
        """Drop everything."""
        self._times.clear()
        self._heap.clear()
