"""How often the test of shadow experiments is wrong, and how many pairs it needs: simulated, seeds fixed.

Usage: python benchmarks/kaizen_experiments.py [--streams 1000] [--data ../shared/data] [--json]

The present model is right in 85 %, in 5 % only the candidate is right; up to 6,000 pairs, looked at after every pair.
Rows named for a ratio are streams whose truth is that ratio: at 0.97 and below every certificate is false. The bets and
e-BH are those of the product (`aegis_core.kaizen.experiments.betting`), summed up by NumPy for many streams at once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aegis_core.kaizen.experiments.betting import BETS, ENOUGH, LABELLED_MARGIN, MARGIN, bets, discoveries
from aegis_core.kaizen.experiments.deciding import margin_of

Floats = NDArray[np.float64]
PRESENT, ONLY_CANDIDATE, LENGTH = 0.85, 0.05, 6_000
DAY = 500
"""Pairs a day, where days matter."""


class Streams(NamedTuple):
    """Scores of the present model and of the candidate, a row for each stream."""

    present: Floats
    candidate: Floats


class Row(NamedTuple):
    """What became of the streams of one truth: the share that was certified, and the median pair at which."""

    certified: float
    median: float | None


def streams(ratio: float | Floats, count: int, seed: int, length: int = LENGTH) -> Streams:
    """Pairs in which the candidate is right `ratio` times as often; a row of ratios changes with the pair."""
    draws = np.random.default_rng(seed).random((count, length))
    lost = PRESENT - (np.asarray(ratio) * PRESENT - ONLY_CANDIDATE)  # only the present model is right
    present = (draws < PRESENT).astype(float)
    candidate = ((draws >= lost) & (draws < PRESENT + ONLY_CANDIDATE)).astype(float)
    return Streams(present, candidate)


def log_e(pairs: Streams, margin: float = MARGIN) -> Floats:
    """The logarithm of the e-value after every pair; what is beyond exp(600) counts as that."""
    d = pairs.candidate - margin * pairs.present
    which, values = _four(pairs, margin)
    found = np.zeros_like(d)
    for bet in bets(margin):
        stake = np.log1p(bet * d) if which is None else np.log1p(bet * values)[which]
        np.cumsum(stake, axis=1, out=stake)
        np.minimum(stake, 600, out=stake)
        found += np.exp(stake, out=stake)
    return np.log(np.maximum(found, 1e-300)) - math.log(BETS)


def _four(pairs: Streams, margin: float) -> tuple[NDArray[np.int8] | None, Floats]:
    """Where scores are 0 or 1, which of the four differences each pair has, and these; it saves logarithms."""
    values = np.array([c - margin * s for s in (0, 1) for c in (0, 1)])
    which = (2 * pairs.present + pairs.candidate).astype(np.int8)
    only = np.array_equal(which // 2, pairs.present) and np.array_equal(which % 2, pairs.candidate)
    return (which if only else None), values


def first(met: NDArray[np.bool_], every: int = 1) -> Row:
    """The first time that a rule is met, looked at after every so many pairs."""
    looked = met[:, every - 1 :: every]
    ever = looked.any(axis=1)
    at = (looked.argmax(axis=1)[ever] + 1) * every
    return Row(round(float(ever.mean()), 4), float(np.median(at)) if len(at) else None)


def betting(pairs: Streams) -> Row:
    """The rule of the product, for one experiment alone."""
    return first(log_e(pairs) >= ENOUGH)


def naive(pairs: Streams) -> Row:
    """z > 1.645, looked at every 25 pairs."""
    d = pairs.candidate - MARGIN * pairs.present
    n = np.arange(1, d.shape[1] + 1)
    mean, square = np.cumsum(d, axis=1) / n, np.cumsum(d * d, axis=1) / n
    z = mean / np.sqrt(np.maximum(square - mean**2, 1e-12) / n)
    return first((z > 1.645) & (n >= 50), 25)


def dashboard(pairs: Streams) -> Row:
    """The ratio of the means is at least the margin, after 100 pairs."""
    n = np.arange(1, pairs.present.shape[1] + 1)
    ratio = np.cumsum(pairs.candidate, axis=1) >= MARGIN * np.cumsum(pairs.present, axis=1)
    return first(ratio & (n >= 100))


def daily(pairs: Streams) -> Row:
    """Decided at the close of days, from the second whole day on."""
    ends = log_e(pairs)[:, DAY - 1 :: DAY]
    ends[:, 0] = -1
    return first(ends >= ENOUGH, 1)


def cycle(ratio: float, length: int = LENGTH) -> Floats:
    """A ratio that swings by 0.05 within each day."""
    return ratio + 0.05 * np.sin(2 * np.pi * np.arange(length) / DAY)


def by_arrival(pairs: Streams, late: int) -> Streams:
    """Pairs in the order in which they would arrive, failures of the candidate so many pairs late."""
    count, length = pairs.present.shape
    at = np.arange(length) + np.where(pairs.candidate == 0, late, 0)
    order = np.argsort(at, axis=1, kind="stable")
    rows = np.arange(count)[:, None]
    return Streams(pairs.present[rows, order], pairs.candidate[rows, order])


def unanswered(pairs: Streams, seed: int) -> tuple[Streams, Streams]:
    """Half of the candidate's failures time out: as they count here (0), and as if those pairs had never been."""
    draws = np.random.default_rng(seed).random(pairs.present.shape)
    gone = (pairs.candidate == 0) & (draws < 0.5)
    kept = np.where(gone, MARGIN * pairs.present, pairs.candidate)  # d = 0: nothing is won or lost
    return pairs, Streams(pairs.present, kept)


def partial(pairs: Streams, seed: int) -> Streams:
    """As a judge scores them that passes 30 % of the candidate's wrong answers, and 10 % of the present model's."""
    draws = np.random.default_rng(seed).random((2, *pairs.present.shape))
    passed = zip(pairs, draws, (0.1, 0.3), strict=True)
    return Streams(*(np.where(truth == 1, 1.0, draw < share) for truth, draw, share in passed))


def many(good: int, bad: int, runs: int, seed: int, length: int = 4_000) -> dict[str, float]:
    """Experiments side by side."""
    ratios = [1.0] * good + [0.94, 0.955, 0.97] * (bad // 3) + [0.97] * (bad % 3)
    logs = [log_e(streams(each, runs, seed + 1_000 * at, length)) for at, each in enumerate(ratios)]
    return together(np.stack([each[:, 2 * DAY - 1 :: DAY] for each in logs]), [each > MARGIN for each in ratios])


def real(folder: Path, count: int, length: int = 3_000) -> dict[str, dict[str, float]]:
    """Recorded outcomes: every type of task and pair of models is a population, whose ratio is the truth."""
    answer: dict[str, dict[str, float]] = {}
    for name, file in (("A", "routellm_pair.dev.jsonl.gz"), ("B", "llmrouter_multi.dev.jsonl.gz")):
        cells: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
        with gzip.open(folder / file, "rt") as lines:
            for line in lines:
                row: dict[str, Any] = json.loads(line)
                for one, two in permutations(row["scores"], 2):
                    cells[row["domain"], one, two].append((row["scores"][one], row["scores"][two]))
        good = bad = found = false = 0.0
        days, truth = list[Floats](), list[bool]()
        for at, (_, rows) in enumerate(sorted(cells.items())):
            table = np.array(rows)
            means = table.mean(axis=0)
            if len(rows) < 30 or not means[0] or (name == "A" and means[0] < means[1]):
                continue
            drawn = table[np.random.default_rng(at).integers(len(rows), size=(count, length))]
            logs = log_e(Streams(drawn[..., 0], drawn[..., 1]))
            share = first(logs >= ENOUGH).certified
            days.append(logs[:, 2 * DAY - 1 :: DAY])
            truth.append(bool(means[1] > MARGIN * means[0]))
            if truth[-1]:
                good, found = good + 1, found + share
            else:
                bad, false = bad + 1, false + share
        answer[name] = {"good cells": good, "found": found, "bad cells": bad, "false": false}
        answer[name] |= {f"together, {key}": value for key, value in together(np.stack(days), truth).items()}
    return answer


def together(days: Floats, truth: Sequence[bool]) -> dict[str, float]:
    """Experiments with these evidences (by experiment, run and day), decided by e-BH at the close of each day; what was
    certified stays so."""
    found = power = false = 0.0
    runs, good = days.shape[1], sum(truth)
    for run in range(runs):
        frozen = dict[int, float]()
        for day in range(days.shape[2]):
            now = [frozen.get(at, float(days[at, run, day])) for at in range(len(truth))]
            for at in discoveries(now):
                frozen.setdefault(at, now[at])
        wrong = sum(not truth[at] for at in frozen)
        found += wrong / max(1, len(frozen)) / runs
        power, false = power + (len(frozen) - wrong) / good / runs, false + wrong / runs
    return {"false discovery rate": found, "power": power, "false a run": false}


def run(count: int, data: Path | None) -> Iterator[tuple[str, Any]]:
    """Everything, in the order of the documentation, as it is known."""
    boundary, worse = streams(0.97, count, 1), streams(0.95, count, 5)
    rules = {"betting": betting, "naive z": naive, "dashboard": dashboard}
    for at, ratio in enumerate((1.0, 0.97, 0.955, 0.94)):
        pairs = streams(ratio, count, at)
        for name, rule in rules.items():
            yield f"{name}, {ratio}", rule(pairs)
    yield "failures 500 pairs late, by number, 0.97", betting(boundary)
    yield "failures 500 pairs late, by arrival, 0.97", betting(by_arrival(boundary, 500))
    counted, skipped = unanswered(worse, 6)
    yield "half of the failures time out, counted as 0, 0.95", betting(counted)
    yield "half of the failures time out, left out, 0.95", betting(skipped)
    for ratio in (0.97, 1.0):
        yield f"daily cycle, decided at days, {ratio} ± 0.05", daily(streams(cycle(ratio), count, 7))
    yield "20 experiments, 5 good", many(5, 15, max(20, count // 5), 10)
    if data is not None and data.is_dir():
        for name, found in real(data, 100).items():
            yield f"recorded outcomes, {name}", found
    for ratio in (1.0, 0.90, 0.88):
        labelled = Streams(*(each[:, ::20] for each in streams(ratio, count, 9)))
        row = first(log_e(labelled, LABELLED_MARGIN) >= ENOUGH)
        yield f"labelled pairs at 0.90 (one in 20), {ratio}", row
    ties = np.full((1, LENGTH), 0.5)
    for word, share in (("unmeasured", 0.0), ("taken for perfect", 1.0)):
        margin = margin_of(pairwise=True, attenuation=share)
        row = first(log_e(Streams(ties, ties), margin) >= ENOUGH)
        yield f"pairwise judge that always names the first, {word}", row
    yield "partial judge alone, 0.95", betting(partial(worse, 8))
    yield "daily cycle, decided at once, 0.97 ± 0.05", betting(streams(cycle(0.97), count, 7))


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = run(options.streams, options.data)
    if options.json:
        print(json.dumps(dict(found)))
        return
    for name, row in found:
        said = (
            f"{row.certified:>7.1%}  {'' if row.median is None else f'{row.median:,.0f}':>7}"
            if isinstance(row, Row)
            else ", ".join(f"{key} {value:.4g}" for key, value in row.items())
        )
        print(f"{name:<52} {said}", flush=True)


if __name__ == "__main__":
    main()
