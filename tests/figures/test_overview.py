"""The figures of a whole study: what they draw of measured and predicted points."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib.figure import Figure

from rnnlimits.figures.drawings import entitle
from rnnlimits.figures.overview import overview, richness
from rnnlimits.statistics.ratefile import Rate, RatePoint

WIDTHS = (64.0, 256.0, 1024.0)


def rate(beta: float, quantity: str = "output_bias", estimator: str = "twin", shift: float = 1.0) -> Rate:
    """Points on a eps^2, measured `shift` times what is predicted."""
    values = [0.04 * n ** (-2 * (1 - beta)) for n in WIDTHS]
    cloud = tuple(
        RatePoint(n, shift * v, 0.02 * v, used=True, replicas=64, predicted=v)
        for n, v in zip(WIDTHS, values, strict=True)
    )
    return Rate("s", quantity, estimator, "N", f"beta={beta}", cloud=cloud)


def drawn(rates: list[Rate]) -> dict[str, Figure]:
    return dict(overview(rates))


def test_betas_lie_on_one_curve_of_the_richness() -> None:
    rates = [rate(0.6), rate(0.9)]
    (ax,) = drawn(rates)["collapse"].axes
    dashed = [line for line in ax.lines if len(line.get_xdata()) == len(WIDTHS) and line.get_linestyle() == "--"]
    assert len(dashed) == 2
    for line, one in zip(dashed, rates, strict=True):
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert x == pytest.approx([richness(one, n) for n in WIDTHS])
        assert y == pytest.approx(0.04 * x**2)


def test_long_titles_fit() -> None:
    """Each figure's title lies within it, whatever the time that it ends in."""
    for figure in drawn([replace(rate(beta), time=1.0625) for beta in (0.6, 0.75, 0.9)]).values():
        assert figure.texts[0].get_window_extent().x0 >= 0  # with the title that it has
        for text in ("a", "A title that is by far too long for a figure of this size, " * 3):
            entitle(figure, text)
            figure.canvas.draw()
            (title,) = (found for found in figure.texts if found.get_text() == text)
            box = title.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_points_that_are_noise_are_upper_limits() -> None:
    noisy = rate(0.75)
    noisy = replace(noisy, cloud=tuple(replace(p, estimate=-p.estimate, stderr=p.estimate) for p in noisy.cloud))
    (ax,) = drawn([noisy])["collapse"].axes
    arrows = [line for line in ax.lines if line.get_marker() == r"$\downarrow$"]
    assert [float(np.asarray(line.get_ydata())[0]) for line in arrows] == pytest.approx(
        [1.96 * p.stderr for p in noisy.cloud]
    )


def test_rich_twins_alone_are_a_line() -> None:
    cloud = tuple(RatePoint(n, n**-2, 0.0, used=True, replicas=8) for n in (1.0, 2.0, 4.0))
    alone = Rate("s", "richness_bias", "rich twin", "1/eps", "N=infinity K=128", cloud=cloud)
    (ax,) = drawn([rate(0.75), alone])["collapse"].axes
    (line,) = (line for line in ax.lines if line.get_label() == "rich twins, K=128")
    assert np.asarray(line.get_xdata()) == pytest.approx([1.0, 0.5, 0.25])


def test_ratios_of_every_quantity_have_a_panel() -> None:
    figure = drawn([rate(0.6), rate(0.9), rate(0.75, "memory_rms", "plain", shift=1.2)])["measured_over_predicted"]
    panels = {ax.get_title(loc="left").splitlines()[0]: ax for ax in figure.axes if ax.get_title(loc="left")}
    assert list(panels) == ["output_bias", "memory_rms"]
    (bar,) = panels["memory_rms"].containers
    assert np.asarray(bar[0].get_ydata()) == pytest.approx([1.2] * len(WIDTHS))


def test_a_study_without_predictions_has_none_of_them() -> None:
    plain = rate(0.75)
    plain = replace(plain, cloud=tuple(replace(p, predicted=float("nan")) for p in plain.cloud))
    assert drawn([plain]) == {}


def test_exponents_against_beta() -> None:
    """Measured and predicted exponents of each quantity; the orders at infinity cross at 5/6 for a symmetric law."""
    rates = [
        replace(rate(beta, *key), exponent=p, ci_low=p - 0.02, ci_high=p + 0.02, predicted=p + 0.01, expected=expected)
        for beta in (0.6, 0.9)
        for key, p, expected in (
            (("output_bias", "twin"), 0.5 - 0.4 * beta, 2 * (1 - beta)),
            (("output_fluctuation", "half-difference"), beta - 0.5, beta - 0.5),
        )
    ]
    figure = drawn(rates)["exponents"]
    (ax,) = figure.axes
    fluctuation, bias, _ = ax.containers
    assert np.asarray(fluctuation[0].get_ydata()) == pytest.approx([0.1, 0.4])
    assert np.asarray(bias[0].get_ydata()) == pytest.approx([0.26, 0.14])
    assert "0.83" in figure.get_supxlabel()


def test_one_beta_has_no_exponents_against_beta() -> None:
    assert "exponents" not in drawn([rate(0.75)])
