"""``aegis route``: the evidence behind the choice of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_core.cli import route_live
from aegis_core.cli.common import JsonFlag, extra_tools, print_json, say, stdout_console
from aegis_core.protocol.errors import InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.arbiter.routing.gain import GainModel
    from aegis_core.arbiter.routing.outcomes import Outcome, Pair

app = typer.Typer(no_args_is_help=True, help="Which model, and why: fit, measure and explain the choice.")
for command in (route_live.explain, route_live.export, route_live.reset):
    app.command()(command)

OutcomesFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Outcomes as JSONL, plain or .gz: prompt, scores by model, domain.", show_default=False
    ),
]
WeakOption = Annotated[
    str | None, typer.Option(help="The cheaper model; default: the cheapest of known price.", show_default=False)
]
StrongOption = Annotated[
    str | None, typer.Option(help="The better model; default: the best mean score.", show_default=False)
]
RatioOption = Annotated[
    float | None,
    typer.Option(help="A weak call's cost over a strong one's; default: by known prices.", show_default=False),
]
BestOption = Annotated[float, typer.Option("--best-score", help="The best score on the file's scale.")]
ClipOption = Annotated[bool, typer.Option("--clip", help="Bring scores outside the scale to its ends.")]


@app.command()
def fit(
    file: OutcomesFile,
    model: Annotated[Path, typer.Option("--model", help="Where to write the fitted model.", show_default=False)],
    weak: WeakOption = None,
    strong: StrongOption = None,
    ratio: RatioOption = None,
    target: Annotated[float, typer.Option(help="The share of the strong model's quality to keep.")] = 0.97,
    confidence: Annotated[float, typer.Option(help="Of the lower bound on what is kept.")] = 0.95,
    best_score: BestOption = 1.0,
    clip: ClipOption = False,
    json: JsonFlag = False,
) -> None:
    """Learn from recorded outcomes where the cheaper of two models is good enough, and write that as a small file.

    Example: aegis route fit outcomes.jsonl.gz --model routing.json
    """
    with extra_tools("aegis route fit, eval and report need"):
        from aegis_core.arbiter.routing.fitting import fit as learn
        from aegis_core.arbiter.routing.fitting import read

    _within("--target", target, 0.5, 1.0)
    _within("--confidence", confidence, 0.5, 0.9999)
    _writable("--model", model)
    outcomes, pair = _outcomes(file, weak, strong, ratio, best_score, clip)
    fitted = learn(read(outcomes), pair, target=target, confidence=confidence)
    text = fitted.dump()
    try:
        model.write_text(text, encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        raise InvalidRequestError(f"--model: {model} {problem}", field="--model", problem=problem) from None
    if json:
        print_json(_about(fitted) | {"bytes": len(text.encode())})
        return
    console = stdout_console()
    console.print(f"{model}: {fitted.weak} or {fitted.strong}, from {fitted.rows:,} outcomes", markup=False)
    where = (
        f"no threshold keeps {target:.0%} by a {confidence:.0%} bound, so the strong model is always called"
        if fitted.threshold is None
        else f"the strong model is called above an expected gain of {fitted.threshold:.4f}"
    )
    console.print(f"{where}; aegis route eval FILE --folds 5 says what that is worth", markup=False)


@app.command(name="eval")
def evaluate(
    file: OutcomesFile,
    model: Annotated[
        Path | None, typer.Option("--model", help="The fitted model to measure.", show_default=False)
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, max=50, help="Cross-validate instead, fitting each time.", show_default=False)
    ] = None,
    weak: WeakOption = None,
    strong: StrongOption = None,
    ratio: RatioOption = None,
    target: Annotated[
        float | None,
        typer.Option(help="With --folds: the share of quality to keep; default: 0.97.", show_default=False),
    ] = None,
    best_score: BestOption = 1.0,
    clip: ClipOption = False,
    rounds: Annotated[int, typer.Option(min=0, max=10_000, help="Bootstrap samples for the intervals.")] = 200,
    json: JsonFlag = False,
) -> None:
    """Measure a fitted model on outcomes that it has not seen, or the method by cross-validation.

    APGR is the mean share of the strong model's lead that is recovered (chance is 0.5), CPT the share of strong calls
    that recovers 50 or 80 % of it; cost 1 is always strong.

    Example: aegis route eval held-out.jsonl.gz --model routing.json --json
    """
    with extra_tools("aegis route fit, eval and report need"):
        from aegis_core.arbiter.routing import evaluation
        from aegis_core.arbiter.routing.fitting import TARGET

    _either(model, folds, {"--weak": weak, "--strong": strong, "--target": target})
    if model is not None:
        fitted = _load(model)
        outcomes, pair = _outcomes(file, None, None, ratio, best_score, clip, fitted)
        _warn_of_flattery(model, fitted, outcomes)
        found = evaluation.evaluate(fitted, outcomes, pair, rounds=rounds)
    else:
        target = TARGET if target is None else target
        _within("--target", target, 0.5, 1.0)
        outcomes, pair = _outcomes(file, weak, strong, ratio, best_score, clip)
        found = evaluation.cross_validate(outcomes, pair, folds=folds or 2, target=target, rounds=rounds)
    if pair.ratio is None:
        say(f"no price is known of {pair.weak} and {pair.strong}, so there is no cost; give --ratio")
    if json:
        print_json({"file": str(file)} | found)
    else:
        _print(found)


@app.command()
def report(
    file: OutcomesFile,
    out: Annotated[Path, typer.Option(help="Where to write the picture, an SVG.", show_default=False)],
    model: Annotated[Path | None, typer.Option("--model", help="The fitted model to draw.", show_default=False)] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, max=50, help="Draw the method by cross-validation.", show_default=False)
    ] = None,
    weak: WeakOption = None,
    strong: StrongOption = None,
    ratio: RatioOption = None,
    title: Annotated[str | None, typer.Option(help="Over the picture; default: the pair.", show_default=False)] = None,
    best_score: BestOption = 1.0,
    clip: ClipOption = False,
    json: JsonFlag = False,
) -> None:
    """Draw quality over cost, beside chance, prompt length and a router that knows the answers, and print the table.

    Example: aegis route report outcomes.jsonl.gz --folds 5 --out curve.svg
    """
    with extra_tools("aegis route fit, eval and report need"):
        from aegis_core.arbiter.routing import picture
        from aegis_core.arbiter.routing.curve import Curve, cost_of, kept
        from aegis_core.arbiter.routing.evaluation import judge
        from aegis_core.arbiter.routing.fitting import TARGET

    _either(model, folds, {"--weak": weak, "--strong": strong})
    _writable("--out", out)
    fitted = _load(model) if model else None
    outcomes, pair = _outcomes(file, weak, strong, ratio, best_score, clip, fitted)
    if model and fitted:
        _warn_of_flattery(model, fitted, outcomes)
    if pair.ratio is None or pair.ratio >= 1:
        problem = "a picture of costs needs a weak model of known price that is cheaper than the strong one"
        raise InvalidRequestError(f"--ratio: {problem}", field="--ratio", problem=problem)
    if not any(each.strong for each in outcomes):
        problem = f"{pair.strong} has no score above 0 in this file, so there is no quality to compare with"
        raise InvalidRequestError(f"{file}: {problem}", field=f"scores.{pair.strong}", problem=problem)
    gains, chosen = judge(outcomes, fitted, pair, folds or 2)
    routers = {
        "Aegis": gains,
        "chance": [0.0] * len(outcomes),
        "prompt length": [float(len(each.prompt)) for each in outcomes],
        "knows the answers": [each.gain for each in outcomes],
    }
    lines = [picture.Line(name, Curve.of(outcomes, scores)) for name, scores in routers.items()]
    retained, share = kept(outcomes, chosen)
    target = fitted.target if fitted else TARGET
    mark = picture.Mark(f"set to keep {target * 100:.4g} %", cost_of(share, pair.ratio) or 0.0, retained or 0.0)
    drawn = picture.svg(title or f"{pair.weak} or {pair.strong}", lines, pair.ratio, mark)
    try:
        out.write_text(drawn, encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        raise InvalidRequestError(f"--out: {out} {problem}", field="--out", problem=problem) from None
    rows = picture.table(lines, pair.ratio)
    if json:
        print_json({"picture": str(out), "setting": mark._asdict(), "curve": rows})
        return
    _print_rows(rows)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{value:.3f}" for value in row.values()))
    stdout_console().print(table)


def _outcomes(
    file: Path, weak: str | None, strong: str | None, ratio: float | None, best: float, clip: bool,
    fitted: GainModel | None = None,
) -> tuple[list[Outcome], Pair]:  # fmt: skip
    """The outcomes of a file for a pair, which is that of a fitted model where there is one."""
    from aegis_core.arbiter.book import price_book
    from aegis_core.arbiter.catalog import load_catalog
    from aegis_core.arbiter.routing.outcomes import paired, read_rows
    from aegis_core.arbiter.routing.pairs import pair_of, refuse_unpaired

    if not 0 < best < float("inf"):
        raise InvalidRequestError("--best-score: must be above 0", field="--best-score")
    rows = read_rows(file, most=best, clip=clip)
    if fitted:
        weak, strong, ratio = fitted.weak, fitted.strong, fitted.ratio if ratio is None else ratio
        refuse_unpaired(file, fitted, {model for row in rows for model in row.scores})
    pair = pair_of(rows, price_book(load_catalog()), weak=weak, strong=strong, ratio=ratio)
    return paired(file, rows, pair), pair


def _either(model: Path | None, folds: int | None, with_folds: dict[str, object]) -> None:
    """Refuse both ways at once, neither, and what a fitted model has its own of and would silently not take."""
    if (model is None) == (folds is None):
        raise InvalidRequestError("--model: give either --model or --folds", field="--model")
    for option, value in with_folds.items():
        if model is not None and value is not None:
            problem = f"goes with --folds; {model} was fitted with its own"
            raise InvalidRequestError(f"{option}: {problem}", field=option, problem=problem)


def _writable(option: str, path: Path) -> None:
    """Say before the work, which can take minutes, that its result could not be written."""
    problem = "it is a directory" if path.is_dir() else None
    if not path.parent.is_dir():
        problem = f"there is no directory {path.parent}"
    if problem:
        problem = f"cannot be written: {problem}"
        raise InvalidRequestError(f"{option}: {path} {problem}", field=option, problem=problem)


def _warn_of_flattery(model: Path, fitted: GainModel, outcomes: list[Outcome]) -> None:
    from aegis_core.arbiter.routing.fitting import digest_of

    if digest_of(outcomes) == fitted.digest:
        say(f"{model} was fitted on these very rows, so the figures flatter it; --folds 5 gives honest ones")


def _load(path: Path) -> GainModel:
    from aegis_core.arbiter.routing.gain import load_model

    return load_model(path)


def _within(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        problem = f"is {value:g}; give a number from {low:g} to {high:g}"
        raise InvalidRequestError(f"{option}: {problem}", field=option, problem=problem)


def _about(model: GainModel) -> dict[str, object]:
    return {
        "weak": model.weak,
        "strong": model.strong,
        "ratio": model.ratio,
        "target": model.target,
        "confidence": model.confidence,
        "threshold": model.threshold,
        "rows": model.rows,
        "types": len(model.types),
    }


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    console = stdout_console()
    pair = found["pair"]
    console.print(f"{pair['weak']} or {pair['strong']}, {found['rows']:,} prompts, by {found['how']}", markup=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "APGR", "CPT50", "CPT80", "cost at 95 %", "cost at 97 %"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    columns = ("apgr", "cpt50", "cpt80", "cost_at_95", "cost_at_97")
    routers = {"this router": found} | {
        name: figures for name, figures in found["baselines"].items() if "apgr" in figures
    }
    for name, figures in routers.items():
        table.add_row(name, *("-" if figures[column] is None else f"{figures[column]:.3f}" for column in columns))
    console.print(table)
    cost = "unknown" if found["cost"] is None else f"{found['cost']:.3f}"
    retained = "unknown" if found["retained"] is None else f"{found['retained']:.4f}"
    console.print(
        f"Set to keep {found['target']:.0%}: retained {retained}, cost {cost} of always strong.", markup=False
    )
    for fold in found.get("folds", ()):
        first = ", ".join(fold["ids"][:2])
        kept = f"retained {fold['retained']}, cost {fold['cost']}"
        console.print(f"  fold {fold['fold']}: {fold['rows']:,} rows ({first}, …), {kept}", markup=False)
