"""How patiently somebody outside is served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds. Attempts of one message that its receiver refuses end after `most_attempts`.

    Attributes:
        lease: how long who serves may be silent before another process goes on.
        send: how long one message may take.
        first_retry, longest_retry: the first pause after a failure, and the longest.
        give_up: of a message that its receiver answers with an error of its own, when it is given up.
    """

    lease: float = 20
    send: float = 10
    first_retry: float = 0.5
    longest_retry: float = 60
    most_attempts: int = 12
    give_up: float = 86_400

    def retry(self, attempt: int) -> float:
        """How long to wait after so many failures: twice as long each time."""
        return min(self.longest_retry, self.first_retry * 2 ** min(attempt - 1, 30))
