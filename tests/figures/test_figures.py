"""Figures from made-up results: the files, their labels, what is drawn where, and the same bytes again."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import example_results as made_up
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rnnlimits import kernels
from rnnlimits.base.errors import StudyError
from rnnlimits.figures import rates as figures
from rnnlimits.rates import stage
from rnnlimits.statistics.ratefile import Rate, RatePoint
from rnnlimits.study import Study
from rnnlimits.training.layout import Layout

K_LADDER = "[{beta: [0.75], width: [1024], steps_per_time: [16, 32, 64, 128, 256]}]"
NAMES = [
    "error_budget",
    "exponents_in_time",
    "output_rms",
    "output_fluctuation",
    "output_bias",
    "memory_rms",
    "memory_fluctuation",
    "memory_bias",
    "drift",
    "drift_rms",
    "drift_b",
    "sgd_noise",
    "memory_sup",
    "hidden_h1",
    "hidden_h1_sup",
    "memory_contraction",
    "chain_contraction",
    "outputs",
    "loss",
    "quantiles",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Layout, list[str]]:
    study = made_up.make_study(ladders=K_LADDER)
    layout = made_up.write_results(study, tmp_path_factory.mktemp("figures"))
    stage.run(study, layout, kernels.backend("numpy"))
    return study, layout, figures.run(study, layout)


Drawn = tuple[Study, Layout, list[str]]


def texts(layout: Layout, name: str) -> str:
    """Text of an SVG, which keeps it in comments beside the glyphs."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", layout.figure(name, "svg").read_text(), flags=re.DOTALL))


def test_every_figure_is_there_in_both_formats(drawn: Drawn) -> None:
    _, layout, names = drawn
    assert names == NAMES
    found = {path.name for path in layout.figures.iterdir()}
    assert found == {f"{name}.{suffix}" for name in NAMES for suffix in ("svg", "png")}
    for name in NAMES:
        assert layout.figure(name, "png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in layout.figure(name, "svg").read_text()


def test_labels_say_what_is_seen(drawn: Drawn) -> None:
    _, layout, _ = drawn
    found = {rate.at: rate for rate in stage.read(layout.rates_h5) if rate.quantity == "drift"}
    text = texts(layout, "drift")
    assert "Largest drift of an output weight" in text
    assert "local exponent" in text
    for beta, expected in ((0.6, 0.4), (0.75, 0.25)):
        rate = found[f"beta={beta}"]
        half = 0.5 * (rate.ci_high - rate.ci_low)
        assert f"β = {beta}:  p = {rate.exponent:.3f} ± {half:.3f} (at infinity {expected})" in text
    assert "half-difference" in texts(layout, "output_fluctuation")
    assert "hidden updates" in texts(layout, "memory_contraction")
    assert "β = 0.75, N = 1024" in texts(layout, "sgd_noise")
    assert "training time" in texts(layout, "outputs")
    assert "β = 0.6,  N = 64" in texts(layout, "outputs")
    assert {"limit", "floor", "N = 1024"} <= set(texts(layout, "loss").splitlines())


def test_same_files_give_the_same_bytes(drawn: Drawn) -> None:
    study, layout, _ = drawn

    def digests() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in layout.figures.iterdir()}

    before = digests()
    with plt.rc_context({"font.size": 20, "axes.facecolor": "red"}):  # a user's own style does not matter
        figures.run(study, layout)
    assert digests() == before
    assert "<dc:date>" not in layout.figure("drift", "svg").read_text()
    assert plt.get_fignums() == []


def test_rates_of_another_study_are_refused(drawn: Drawn, tmp_path: Path) -> None:
    _, layout, _ = drawn
    other = made_up.make_study(beta="[0.9]")
    with pytest.raises(StudyError, match="is from another study"):
        figures.run(other, layout)
    with pytest.raises(StudyError, match="is missing"):
        figures.run(other, Layout(tmp_path))


def test_a_study_without_a_diagonal_has_no_curves(tmp_path: Path) -> None:
    study = made_up.make_study(beta="[0.75]", replicas="32", width="[1024]", ladders=K_LADDER.replace("1024", "512"))
    no_diagonal = study.model_copy(update={"training": study.training.model_copy(update={"steps_per_time": (32,)})})
    layout = made_up.write_results(no_diagonal, tmp_path)
    stage.run(no_diagonal, layout, kernels.backend("numpy"))
    assert figures.run(no_diagonal, layout) == [
        "sgd_noise",
        "output_surface",
        "memory_contraction",
        "chain_contraction",
    ]


# --- one panel -------------------------------------------------------------------------------------------------


def made_up_rate(at: str, exponent: float = 0.4, note: str = "") -> Rate:
    """Four used points on a law, one left out and one that is negative."""
    x = [64.0, 128.0, 256.0, 512.0]
    points = [RatePoint(n, 2 * n**-exponent, 0.01 * n**-exponent, True, 64, exponent, 0.3, 0.5) for n in x]
    points += [RatePoint(1024.0, 0.01, 0.02, False, 64), RatePoint(2048.0, -0.01, 0.02, False, 64)]
    numbers = (exponent, 0.02, exponent - 0.04, exponent + 0.04, 2.0)
    about = {"expected": 0.5, "expected_kind": "heuristic", "note": note, "cloud": tuple(points)}
    return Rate("s", "drift", "plain", "N", at, *numbers, 4, 64, **about)


def test_predicted_points_are_joined_by_a_dashed_curve() -> None:
    """In the lower panel too, between its points; the exponent at infinity is dotted."""
    bare = made_up_rate("beta=0.75")
    values = [2.0, 1.4, 1.1, 0.9]
    cloud = [replace(p, predicted=v, predicted_stderr=0.1) for p, v in zip(bare.cloud, values, strict=False)]
    with figures.style():
        figure = figures.rate_figure([replace(bare, predicted=0.38, cloud=(*cloud, *bare.cloud[4:]))])
        plain = figures.rate_figure([bare])
    upper, lower = figure.axes[:2]
    assert [ordinates(line) for line in lines(upper) if line.is_dashed()] == [values]
    slopes = [math.log2(one / other) for one, other in itertools.pairwise(values)]
    assert [ordinates(line) for line in lines(lower) if line.is_dashed()] == [pytest.approx(slopes), [0.5, 0.5]]
    assert not [line for line in lines(plain.axes[0]) if line.is_dashed()]
    assert "(predicted 0.38)" in " ".join(text.get_text() for text in upper.get_legend().get_texts())


def lines(ax: Axes) -> list[Line2D]:
    return [line for line in ax.get_lines() if len(ordinates(line))]


def ordinates(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def slope(line: Line2D) -> float:
    x, y = (np.log(np.asarray(data, dtype=float)) for data in line.get_data())
    return float((y[-1] - y[0]) / (x[-1] - x[0]))


@pytest.fixture
def figure() -> Figure:
    """Two rates with a predicted exponent that is that at infinity."""
    rates = made_up_rate("beta=0.6"), made_up_rate("beta=0.9", 0.2)
    return figures.rate_figure([replace(rate, predicted=0.5) for rate in rates])


def test_fitted_and_predicted_slopes_are_drawn(figure: Figure) -> None:
    upper, lower = figure.axes
    straight = [line for line in lines(upper) if line.get_marker() == "None" and len(ordinates(line)) == 2]
    fitted = sorted(slope(line) for line in straight if line.get_linestyle() == "-")
    predicted = [slope(line) for line in straight if line.get_linestyle() != "-"]
    assert fitted == pytest.approx([-0.4, -0.2])
    assert predicted == pytest.approx([-0.5, -0.5])
    dashed = [ordinates(line)[0] for line in lines(lower) if line.get_linestyle() not in ("-", "None")]
    assert dashed == [0.5, 0.5]
    plt.close(figure)


def test_points_left_out_are_hollow_and_negative_ones_are_limits(figure: Figure) -> None:
    markers = [line for line in lines(figure.axes[0]) if line.get_marker() != "None"]
    hollow = [line for line in markers if to_hex(line.get_markerfacecolor()) == "#ffffff"]
    assert [ordinates(line)[0] for line in hollow] == [0.01, 0.01]
    full = [line for line in markers if len(ordinates(line)) == 4]
    assert len(full) == 2
    arrows = [line for line in markers if line.get_marker() == r"$\downarrow$"]
    # -0.01^2 + 1.96 * 0.02^2, the 95% limit of the square
    assert [ordinates(line)[0] for line in arrows] == pytest.approx([math.sqrt(6.84e-4)] * 2)
    plt.close(figure)


def test_refused_rates_show_points_without_lines() -> None:
    figure = figures.rate_figure([made_up_rate("beta=0.6", note="refused: 2 usable points, 4 are needed")])
    assert all(line.get_linestyle() == "None" for line in lines(figure.axes[0]))
    assert "no rate can be determined yet" in figure.get_suptitle()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert "not determined" in legend.get_texts()[0].get_text()
    plt.close(figure)


def test_series_differ_in_colour_and_marker() -> None:
    looks = figures._styles([made_up_rate(f"beta={b}") for b in range(20)]).values()
    assert len({(look.colour, look.marker) for look in looks}) == 20
    first = list(looks)[:7]
    assert len({look.colour for look in first}) == len({look.marker for look in first}) == 7
    # Okabe and Ito's set, less the yellow that a white page swallows
    okabe_ito = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"}
    assert set(figures.COLOURS) == okabe_ito
