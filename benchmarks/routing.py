"""How good the estimator is on recorded outcomes, how it transfers, how fast and how large it is.

Usage: python benchmarks/routing.py [--data ../shared/data] [--folds 5] [--rounds 200] [--json]

Needs the three files of outcomes in the data directory, which are not part of the project, and scikit-learn for the
comparison with TF-IDF. A and B are cross-validated (thresholds are set inside the training folds); C is evaluated only.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.prices import Prices
from aegis_core.arbiter.routing.curve import summary
from aegis_core.arbiter.routing.evaluation import cross_validate, evaluate
from aegis_core.arbiter.routing.fitting import fit, fold_of, read
from aegis_core.arbiter.routing.outcomes import Outcome, Pair, paired, read_rows
from aegis_core.arbiter.routing.pairs import pair_of

SETS = {
    "A": "routellm_pair.dev.jsonl.gz",
    "B": "llmrouter_multi.dev.jsonl.gz",
    "C": "routerarena_pair.dev.jsonl.gz",
}
TIMED = 1_500


def load(path: Path) -> tuple[list[Outcome], Pair]:
    """The outcomes of a file, and the pair that is routed between."""
    rows = read_rows(path, clip=True)  # one score of C lies below 0
    pair = pair_of(rows, Prices(load_catalog()))
    return paired(path, rows, pair), pair


def tfidf(train: Sequence[Outcome]) -> tuple[Callable[[str], float], int]:
    """The usual text router: TF-IDF and ridge regression on gain, with its size in bytes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    ridge = Ridge(alpha=10, solver="lsqr").fit(words.fit_transform([o.prompt for o in train]), [o.gain for o in train])
    return lambda text: float(ridge.predict(words.transform([text]))[0]), len(pickle.dumps((words, ridge)))


def by_tfidf(outcomes: Sequence[Outcome], folds: int) -> list[float]:
    """Gains by TF-IDF models of the other folds."""
    of = [fold_of(outcome.prompt, folds) for outcome in outcomes]
    gains = [0.0] * len(outcomes)
    for fold in range(folds):
        judge, _ = tfidf([outcome for outcome, where in zip(outcomes, of, strict=True) if where != fold])
        for place, where in enumerate(of):
            if where == fold:
                gains[place] = judge(outcomes[place].prompt)
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


def latency(judge: Callable[[Outcome], Any], outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Median and 99th percentile of one prompt, in microseconds, on the first prompts of a set."""
    took: list[float] = []
    for outcome in outcomes[:TIMED]:
        began = time.perf_counter_ns()
        judge(outcome)
        took.append((time.perf_counter_ns() - began) / 1_000)
    took.sort()
    return {"p50_us": round(statistics.median(took), 1), "p99_us": round(took[int(0.99 * len(took))], 1)}


def run(data: Path, folds: int, rounds: int) -> dict[str, Any]:
    """Everything, by set."""
    sets = {name: load(data / file) for name, file in SETS.items()}
    models = {name: fit(read(sets[name][0]), sets[name][1]) for name in ("A", "B")}
    report: dict[str, Any] = {}
    for name in ("A", "B"):
        outcomes, pair = sets[name]
        found = cross_validate(outcomes, pair, folds=folds, rounds=rounds)
        for fold in found["folds"]:
            del fold["ids"]
        found["baselines"]["task type table"] = summary(outcomes, by_type(outcomes, folds), pair.ratio)
        found["baselines"]["TF-IDF + ridge"] = summary(outcomes, by_tfidf(outcomes, folds), pair.ratio)
        report[name] = found
    outcomes, pair = sets["C"]
    report["C"] = evaluate(models["A"], outcomes, pair, rounds=rounds) | {"how": "fitted on A"}
    report["transfer"] = {
        f"{of} to {to}": evaluate(models[of], *sets[to], rounds=0)["apgr"]
        for of in ("A", "B")
        for to in ("A", "B", "C")
        if of != to
    }
    outcomes, _ = sets["A"]
    judge, size = tfidf(outcomes)
    report["speed"] = {
        "Aegis": latency(lambda o: models["A"].gain(o.prompt, o.task_type), outcomes)
        | {"bytes": len(models["A"].dump().encode())},
        "TF-IDF + ridge": latency(lambda o: judge(o.prompt), outcomes) | {"bytes": size},
        "prompt length": latency(lambda o: len(o.prompt), outcomes) | {"bytes": 0},
    }
    return report


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
        for figure in ("apgr", "cpt80", "retained", "cost"):
            print(f"  {figure} {found[figure]} {found['intervals'].get(figure, '')}")
        weak = found["baselines"]["always_weak"]
        print(f"  always weak retains {weak['retained']} at {weak['cost']}; always strong 1 at 1")
    for name, apgr in report["transfer"].items():
        print(f"transfer {name}: APGR {apgr}")
    for name, row in report["speed"].items():
        print(f"{name:18s} median {row['p50_us']:8.1f} µs, p99 {row['p99_us']:8.1f} µs, {row['bytes']:,} bytes")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missing = [file for file in SETS.values() if not (options.data / file).exists()]
    if missing:
        parser.error(f"{options.data} lacks {', '.join(missing)}; --data says where recorded outcomes are")
    report = run(options.data, options.folds, options.rounds)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


if __name__ == "__main__":
    main()
