"""How good the estimator is on recorded outcomes, how it transfers, how fast and how large it is.

Usage: python benchmarks/routing.py [--data ../shared/data] [--folds 5] [--rounds 200] [--jobs 2] [--speed] [--json]

Needs the three files of outcomes in the data directory, which are not part of the project, and scikit-learn, which
nothing else here needs, for the comparison with TF-IDF: pip install 'scikit-learn>=1.5'. A and B are cross-validated
(thresholds are set inside the training folds); C is evaluated only. All of it takes a few minutes of a core;
--speed measures latency and size alone.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aegis_core.arbiter import evidence
from aegis_core.arbiter.book import price_book
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.routing.curve import summary
from aegis_core.arbiter.routing.evaluation import cross_validate, evaluate
from aegis_core.arbiter.routing.fitting import fit, fit_gain, fold_of, read
from aegis_core.arbiter.routing.gain import GainModel, load_model
from aegis_core.arbiter.routing.outcomes import Outcome, Pair, paired, read_rows
from aegis_core.arbiter.routing.pairs import pair_of

SETS = {
    "A": "routellm_pair.dev.jsonl.gz",
    "B": "llmrouter_multi.dev.jsonl.gz",
    "C": "routerarena_pair.dev.jsonl.gz",
}
TIMED = 1_000
REPEATS = 7
_STARTED = time.monotonic()


def load(path: Path) -> tuple[list[Outcome], Pair]:
    """The outcomes of a file, and the pair that is routed between."""
    rows = read_rows(path, clip=True)  # one score of C lies below 0
    pair = pair_of(rows, price_book(load_catalog()))
    return paired(path, rows, pair), pair


def tfidf(train: Sequence[Outcome]) -> tuple[Callable[[Sequence[str]], list[float]], int]:
    """The usual text router: TF-IDF and ridge regression on gain, with its size in bytes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    ridge = Ridge(alpha=10, solver="lsqr").fit(words.fit_transform([o.prompt for o in train]), [o.gain for o in train])
    return lambda texts: ridge.predict(words.transform(texts)).tolist(), len(pickle.dumps((words, ridge)))


def by_tfidf(outcomes: Sequence[Outcome], folds: int) -> list[float]:
    """Gains by TF-IDF models of the other folds."""
    of = [fold_of(outcome.prompt, folds) for outcome in outcomes]
    gains = [0.0] * len(outcomes)
    for fold in range(folds):
        judge, _ = tfidf([outcome for outcome, where in zip(outcomes, of, strict=True) if where != fold])
        places = [place for place, where in enumerate(of) if where == fold]
        for place, gain in zip(places, judge([outcomes[place].prompt for place in places]), strict=True):
            gains[place] = gain
    return gains


def by_type(outcomes: Sequence[Outcome], folds: int) -> list[float]:
    """Gains by the mean of the task type in the other folds, shrunk to the whole mean by 20 outcomes."""
    of = [fold_of(outcome.prompt, folds) for outcome in outcomes]
    gains = [0.0] * len(outcomes)
    for fold in range(folds):
        rest = [outcome for outcome, where in zip(outcomes, of, strict=True) if where != fold]
        mean = statistics.fmean(outcome.gain for outcome in rest)
        sums: dict[str, list[float]] = {}
        for outcome in rest:
            sums.setdefault(outcome.task_type, []).append(outcome.gain)
        for place, where in enumerate(of):
            if where == fold:
                seen = sums.get(outcomes[place].task_type, [])
                gains[place] = (sum(seen) + 20 * mean) / (len(seen) + 20)
    return gains


def validated(name: str, data: Path, folds: int, rounds: int) -> dict[str, Any]:
    """The figures of one set by cross-validation, with the baselines that learn beside those that do not."""
    outcomes, pair = load(data / SETS[name])
    found = cross_validate(outcomes, pair, folds=folds, rounds=rounds)
    for fold in found["folds"]:
        del fold["ids"]
    found["baselines"]["task type table"] = summary(outcomes, by_type(outcomes, folds), pair.ratio)
    return found


def text_only(name: str, data: Path, folds: int) -> dict[str, Any]:
    """The figures of TF-IDF on one set, by cross-validation."""
    outcomes, pair = load(data / SETS[name])
    return summary(outcomes, by_tfidf(outcomes, folds), pair.ratio)


def written(name: str, data: Path, place: Path) -> None:
    """Fit a model on a whole set and write it, as `aegis route fit` does."""
    outcomes, pair = load(data / SETS[name])
    place.write_text(fit(read(outcomes), pair).dump(), encoding="utf-8")


def speed(model: GainModel, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Microseconds a prompt, each router in turn, `REPEATS` times over; and the bytes that each needs.

    `p50_us` and `p99_us` are medians over the repeats of what was seen. On a shared machine the second is mostly about
    the neighbours, so `own_p99_us` stands beside it: of each prompt's fastest repeat, which is the prompt's own.
    """
    judge, size = tfidf(outcomes)
    some = outcomes[:: max(1, len(outcomes) // TIMED)][:TIMED]
    routers: dict[str, tuple[Callable[[Outcome], Any], int]] = {
        "Aegis": (lambda o: model.gain(o.prompt, o.task_type), len(model.dump().encode())),
        "TF-IDF + ridge": (lambda o: judge([o.prompt]), size),
        "prompt length": (lambda o: len(o.prompt), 0),
    }
    load_before = os.getloadavg()[0]
    took: dict[str, list[list[float]]] = {name: [] for name in routers}
    for _ in range(REPEATS):
        for name, (router, _) in routers.items():
            took[name].append([timed(router, outcome) for outcome in some])
    found: dict[str, Any] = {}
    for name, repeats in took.items():
        found[name] = {
            "p50_us": round(statistics.median(statistics.median(each) for each in repeats), 1),
            "p99_us": round(statistics.median(at_99(each) for each in repeats), 1),
            "own_p99_us": round(at_99([min(each) for each in zip(*repeats, strict=True)]), 1),
            "bytes": routers[name][1],
        }
    length = statistics.median(len(outcome.prompt) for outcome in some)
    loads = [round(load_before, 1), round(os.getloadavg()[0], 1)]
    shipped = Path(evidence.__file__).with_name("prior.json").stat().st_size
    return {
        "routers": found,
        "prompts": len(some),
        "median_characters": length,
        "load": loads,
        "shipped_prior": shipped,
    }


def speed_of(data: Path) -> dict[str, Any]:
    """`speed` on set A."""
    outcomes, pair = load(data / SETS["A"])
    return speed(fit_gain(read(outcomes), pair), outcomes)


def timed(router: Callable[[Outcome], Any], outcome: Outcome) -> float:
    """Microseconds of one call."""
    began = time.perf_counter_ns()
    router(outcome)
    return (time.perf_counter_ns() - began) / 1_000


def at_99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return sorted(values)[int(0.99 * len(values))]


def run(data: Path, folds: int, rounds: int, jobs: int) -> dict[str, Any]:
    """Everything, by set. What learns runs side by side; latency is measured when all of that is done."""
    sets = {name: load(data / file) for name, file in SETS.items()}
    done: dict[tuple[str, str], Any] = {}
    with TemporaryDirectory() as place:
        files = {name: Path(place) / f"{name}.json" for name in ("A", "B")}
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            waiting: dict[Any, tuple[str, str]] = {}
            for name in ("A", "B"):
                waiting[pool.submit(validated, name, data, folds, rounds)] = "cross-validation", name
            for name in ("A", "B"):
                waiting[pool.submit(written, name, data, files[name])] = "fit", name
                waiting[pool.submit(text_only, name, data, folds)] = "TF-IDF + ridge", name
            for future in as_completed(waiting):
                done[waiting[future]] = future.result()
                say(f"{' of '.join(waiting[future])} is done, {len(done)} of {len(waiting)}")
        models = {name: load_model(file) for name, file in files.items()}
    report: dict[str, Any] = {}
    for name in ("A", "B"):
        report[name] = done["cross-validation", name]
        report[name]["baselines"]["TF-IDF + ridge"] = done["TF-IDF + ridge", name]
    outcomes, pair = sets["C"]
    report["C"] = evaluate(models["A"], outcomes, pair, rounds=rounds) | {"how": "fitted on A"}
    report["transfer"] = {
        f"{of} to {to}": {key: found[key] for key in ("apgr", "retained", "cost")}
        | {"interval": found["intervals"]["apgr"]}
        for of in ("A", "B")
        for to in ("A", "B", "C")
        if of != to
        for found in [evaluate(models[of], *sets[to], rounds=rounds)]
    }
    say("transfer is done; latency is next")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # this one's memory is full by now
        report["speed"] = fresh.submit(speed_of, data).result()
    return report


def say(text: str) -> None:
    """Progress, beside the report."""
    print(f"[{time.monotonic() - _STARTED:4.0f} s] {text}", file=sys.stderr, flush=True)


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    columns = ("apgr", "cpt50", "cpt80", "cost_at_95", "cost_at_97")
    for name in SETS:
        found = report[name]
        pair = found["pair"]
        print(f"{name}: {pair['weak']} or {pair['strong']}, {found['rows']:,} prompts, {found['how']}")
        print(f"  {'':18s}" + "".join(f"{column:>12s}" for column in columns))
        for router, figures in {"Aegis": found, **found["baselines"]}.items():
            if "apgr" in figures:
                cells = ("-" if figures[column] is None else f"{figures[column]:.3f}" for column in columns)
                print(f"  {router:18s}" + "".join(f"{cell:>12s}" for cell in cells))
        for figure in ("apgr", "cpt50", "cpt80", "cost_at_95", "cost_at_97", "retained", "cost"):
            print(f"  {figure} {found[figure]} {found['intervals'].get(figure, '')}")
        weak = found["baselines"]["always_weak"]
        print(f"  always weak retains {weak['retained']} at {weak['cost']}; always strong 1 at 1")
    for name, row in report["transfer"].items():
        print(
            f"transfer {name}: APGR {row['apgr']} {row['interval']}, retained {row['retained']} at cost {row['cost']}"
        )
    show_speed(report["speed"])


def show_speed(found: dict[str, Any]) -> None:
    """Print latency and size."""
    print(
        f"{found['prompts']:,} prompts of {found['median_characters']:,.0f} characters in the median, {REPEATS} "
        f"repeats in turn; load average {found['load'][0]} to {found['load'][1]} on {os.cpu_count()} cores"
    )
    for name, row in found["routers"].items():
        print(
            f"  {name:16s} median {row['p50_us']:8.1f} µs, p99 {row['p99_us']:8.1f} µs "
            f"(of the fastest repeats {row['own_p99_us']:8.1f} µs), {row['bytes']:>9,} bytes"
        )
    print(f"  the prior that ships has {found['shipped_prior']} bytes")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--speed", action="store_true", help="latency and size alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = [file for file in SETS.values() if not (options.data / file).exists()]
    if missing:
        parser.error(f"{options.data} lacks {', '.join(missing)}; --data says where recorded outcomes are")
    if find_spec("sklearn") is None:
        parser.error("the comparison with TF-IDF needs scikit-learn: pip install 'scikit-learn>=1.5'")
    if options.speed:
        report, printed = speed_of(options.data), show_speed
    else:
        report, printed = run(options.data, options.folds, options.rounds, options.jobs), show
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        printed(report)


if __name__ == "__main__":
    main()
