"""Figures of the guide that are drawn from recorded results, as SVG."""

import json
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from promises import measured

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "sklearn_rdm", "font.family": "sans-serif"}


def draw_figures(results: Path, generated: Path) -> None:
    with mpl.rc_context(STYLE):
        for name, draw in (("accuracy", accuracy), ("promises", promises)):
            draw(results).savefig(generated / f"{name}.svg", metadata={"Date": None})


def accuracy(results: Path) -> Figure:
    """Percent of the ceiling of each target and image set: recipe, untrained, other subjects."""
    rows = json.loads((results / "algonauts2019.json").read_text())["rows"]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for ax, scored in zip(figure.subplots(1, 2, sharey=True), (92, 118), strict=True):
        chosen = [row for row in rows if row["scored"] == scored]
        bars = [("untrained, %", "not trained", GREY), ("recipe, %", "tuned", BLUE)]
        for offset, (column, label, color) in zip((-0.18, 0.18), bars, strict=True):
            places = [place + offset for place in range(len(chosen))]
            ax.bar(places, [float(r[column]) for r in chosen], 0.36, color=color, label=label)
        others = [float(row["other subjects, %"]) for row in chosen]
        ax.plot(others, "D", color=ORANGE, mec="k", label="other subjects")
        names = [row["target"].replace("fmri_", "fMRI ").replace("meg_", "MEG ") for row in chosen]
        names = [n.replace("evc", "EVC").replace(" it", " IT") for n in names]
        ax.set_xticks(range(len(names)), names)
        ax.set(title=f"{scored} images, trained on the other set", ylim=(0, 100))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("% of the noise ceiling")
    figure.axes[1].legend(frameon=False)
    return figure


def promises(results: Path) -> Figure:
    """How many faults were made of each kind, and how many ended as promised."""
    counted = [row for row in measured(results) if not isinstance(row[3], str)]
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    ax = figure.subplots()
    names = ["disk full", "writer killed", "memory map cut", "file damaged", "store damaged"]
    names += ["fit killed", "same weights"]
    for place, (_, _, _, (made, right, what)) in enumerate(counted):
        ax.barh(place, made, color=ORANGE)
        ax.barh(place, right, color=BLUE)
        ax.text(made * 1.15, place, f"{right:,} of {made:,} {what}", va="center")
    ax.set_yticks(range(len(counted)), names)
    ax.set(xscale="log", xlim=(1, 1e6), xlabel="faults made; blue: ended as promised")
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    return figure
