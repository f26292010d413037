"""The course of an experiment as an SVG that Matplotlib draws: the ratio of the scores, and the band that is still
possible, one-sided as the decision is."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from io import StringIO

from matplotlib.figure import Figure

from aegis_core.kaizen.picture import drawn_alike
from aegis_core.protocol.experiments import ExperimentExplanation


def svg(found: ExperimentExplanation) -> str:
    """The ratio after each number of pairs, its lower bound, and the margin that it must keep above."""
    file, experiment = StringIO(), found.experiment
    with drawn_alike():
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        pairs = [point.pairs for point in found.course]
        top = max([1.05, *(point.ratio for point in found.course)]) + 0.02
        axes.plot(pairs, [point.ratio for point in found.course], color="#0b6e4f", label="ratio of the scores")
        axes.fill_between(
            pairs, [point.at_least for point in found.course], top, color="#0b6e4f", alpha=0.15, linewidth=0,
            label="still possible (95 %, at every moment)",
        )  # fmt: skip
        axes.axhline(experiment.margin, color="#a40e26", linestyle="--", linewidth=1, label="what it must keep above")
        axes.set_ylim(max(0.0, min([0.85, *(point.ratio - 0.05 for point in found.course)])), top)
        axes.set_xlabel("pairs")
        axes.set_title(f"{experiment.candidate} for {experiment.present}: {experiment.task_type} ({experiment.state})")
        axes.legend(loc="lower right", frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
