"""The choice at run time needs none of the packages that fit a model, and gives the scores that are committed here.

``routing_scores.json`` holds made-up texts with how they are read and what a made-up model expects of them. Files that
users fitted hold weights for exactly this reading: one that differs needs another `FORMAT` of `gain`, and only then
``python tests/core/test_routing_at_run_time.py`` writes these scores anew.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from aegis_core.arbiter.routing.features import BUCKETS, SHAPES, features_of
from aegis_core.arbiter.routing.gain import GainModel, TypeTerms, load_model

SCORES = Path(__file__).with_name("routing_scores.json")
CASES: list[dict[str, Any]] = json.loads(SCORES.read_text())["cases"]
FITTING = {"numpy", "scipy", "matplotlib", "sklearn"}


def made_model() -> GainModel:
    """A model of round numbers: a third of the buckets were never seen, and weights of both signs."""

    def slopes(first: int) -> tuple[float, ...]:
        return tuple((first + 3 * number) % 7 / 100 - 0.03 for number in range(len(SHAPES)))

    return GainModel(
        weak="gpt-4o-mini", strong="gpt-4o", ratio=0.06, target=0.97, confidence=0.95, threshold=0.12, rows=1_000,
        digest="0" * 16, means=(0.6, 0.7), offset=0.1, shape_mean=tuple(0.5 * n for n in range(len(SHAPES))),
        shape_scale=tuple(1 / (1 + n) for n in range(len(SHAPES))), shape_weights=slopes(1),
        types={
            "proof": TypeTerms(n=400, weak=0.4, strong=0.7, offset=0.15, slopes=slopes(2)),
            "letter": TypeTerms(n=500, weak=0.8, strong=0.8, offset=-0.08, slopes=slopes(5)),
        },
        step=0.002, rarity=bytes(number % 3 and 20 + number * 7 % 200 for number in range(BUCKETS)),
        weights=array("b", [number * 11 % 255 - 127 for number in range(BUCKETS)]),
    )  # fmt: skip


def scored(text: str, times: int, task_type: str) -> dict[str, Any]:
    """One case: a text, so many times over, as it is read and judged."""
    features, model = features_of(text * times), made_model()
    buckets = {str(bucket): features.buckets[bucket] for bucket in sorted(features.buckets)}
    gain = model.gain(text * times, task_type)
    return {
        "text": text, "times": times, "task_type": task_type, "gain": gain, "strong": model.calls_for_strong(gain),
        "shape": features.shape, "buckets": buckets,
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['task_type'] or 'untyped'}-{case['text'][:12]!a}")
def test_a_text_is_read_and_judged_as_ever(case: dict[str, Any]) -> None:
    found = scored(case["text"], case["times"], case["task_type"])
    assert found["buckets"] == case["buckets"]
    assert list(found["shape"]) == pytest.approx(case["shape"], rel=0, abs=1e-9)
    assert found["gain"] == pytest.approx(case["gain"], rel=0, abs=1e-9)
    assert found["strong"] is case["strong"]


def test_the_committed_cases_tell_something() -> None:
    assert {case["strong"] for case in CASES} == {True, False}
    assert len({round(case["gain"], 6) for case in CASES}) == len(CASES)
    assert any(count > 1 for case in CASES for count in case["buckets"].values())


PROGRAM = """
import json, sys
from pathlib import Path
import aegis_core.api.app, aegis_core.governor.governor, aegis_core.remote, aegis_core.client.sync
from aegis_core.arbiter.arbiter import Arbiter
from aegis_core.arbiter.catalog import load_catalog
from aegis_core.arbiter.book import price_book
from aegis_core.connect import read_routing_file
from aegis_core.protocol import PermissionRequest

catalog = load_catalog()
model = read_routing_file(Path(sys.argv[1]), catalog)
arbiter = Arbiter(catalog, price_book(catalog), model)
found = {"gains": [model.gain(text * times, kind) for text, times, kind in json.load(sys.stdin)]}
asked = {"agent_id": "a", "resource_type": "llm_tokens", "logic_density": 8, "prompt_bytes": 900}
for task_type in ("letter", "proof"):
    said = {"task_intent": "A b C d, 1 2 3? " * 50, "task_type": task_type}
    name = arbiter.appraise(PermissionRequest.model_validate(asked | said)).recommended
    found[task_type] = catalog.by_name[name].tier
found["loaded"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(found))
"""


def test_the_choice_at_run_time_loads_nothing_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "routing.json"
    path.write_text(made_model().dump())
    assert load_model(path) == made_model()
    texts = json.dumps([(case["text"], case["times"], case["task_type"]) for case in CASES])
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not FITTING & set(found["loaded"])
    assert "pydantic" in found["loaded"]
    for gain, case in zip(found["gains"], CASES, strict=True):
        assert math.isclose(gain, case["gain"], rel_tol=0, abs_tol=1e-9)
    assert (found["letter"], found["proof"]) == (1, 4), "the weak model's tier, and the one that was asked for"


TEXTS = [
    ("", 1, ""), ("", 1, "proof"), ("Prove that the square root of 2 is irrational.", 1, "proof"),
    ("Prove that the square root of 2 is irrational.", 1, "letter"),
    ("Prove that the square root of 2 is irrational.", 1, "never heard of"),
    ("Dear customer, your parcel is late; we are sorry.", 1, "letter"),
    ("def area(r: float) -> float:\n    return 3.14159 * r ** 2  # \\pi r^2\n", 1, ""),
    ("东京的天气怎么样？ Ποιο είναι; 🙂 مرحبا", 1, "letter"), ("A b C d, 1 2 3? ", 700, "proof"), ("x", 9_000, ""),
]  # fmt: skip
"""What was committed, to write it anew."""

if __name__ == "__main__":
    cases = [scored(*given) for given in TEXTS]
    SCORES.write_text(json.dumps({"cases": cases}, ensure_ascii=False, indent=1) + "\n")
