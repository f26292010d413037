"""What the scripts of shadow experiments are called with, by name: as in `verbs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from aegis_core.store.arguments import BegunExperiment, Given


class NotePair(NamedTuple):
    """Number a pair of an experiment when it is sampled, or take what is known of it.

    Attributes:
        request: a hash of the id of the request that both models answer.
        act: ``open``: it is sampled; ``score``; ``missing``: its judge does not know; ``skip``: the candidate was not
            asked; ``label``: the scores are true ones; ``count``: of what is known already; ``present`` and
            ``candidate``: no pair, but with what that model of a certificate was seen.
        present, candidate: their scores, 0 to 1.
        span: ms for which it may stay open.
        basis: of one that is sampled, a hash of its prompt's template; pairs of another one are none of the experiment.
        agent: whose request it is; those of some labels are never sampled.
        version: by which name its provider says that it answered: the present model of one that is sampled, the
            candidate of one that is scored. Another one than before voids an experiment, and ends a certificate.
    """

    experiment: str
    request: str
    act: Literal["open", "score", "missing", "skip", "label", "count", "present", "candidate"]
    present: float
    candidate: float
    span: int
    basis: str = ""
    agent: Given = None
    version: str = ""


class PutExperiment(NamedTuple):
    """Begin an experiment, or bring it from one of the states `allowed` to another.

    Attributes:
        ended: it is over, and kept only for a while.
        proof: what it was decided on.
    """

    experiment: str
    state: str
    allowed: Sequence[str]
    begun: BegunExperiment | Literal[False]
    ended: bool
    proof: Given
    why: str
    author: str
