"""Shares of units at nodes: exact where interpolation is, and of mean zero whatever the law."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from processors import reference

from rnnlimits import study as studies
from rnnlimits.study import Study
from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.shares import Axis, NodeShares
from rnnlimits.theory.units import UnitNodes
from rnnlimits.training import tangents

C_NODES, B_NODES, WIDTH, NETWORKS = 4, 3, 16, 4000

LAWS: dict[str, dict[str, Any]] = {
    "normal": {},
    "uniform W, two-point C": {"w": {"kind": "uniform", "std": 1.5}, "c": {"kind": "two-point", "probability": 0.2}},
    "noise in B, normal C": {"b": {"offset": 0.1, "slope": 0.5, "noise": 0.7}, "c": {"kind": "gaussian"}},
}
THREE = {"kind": "linear-gaussian", "dimension": 3}


def study_of(folder: Path, network: dict[str, Any]) -> Study:
    return studies.load(runs.write_study(folder, network=network, rich={"follow": True}, twin={"follow": True}))


def shares_of(study: Study) -> tuple[ParameterLaw, UnitNodes, NodeShares]:
    law = ParameterLaw.of(study)
    ends = tangents.directions(study, law)
    return law, ends, NodeShares.of(law, ends, study.rich.c_nodes, study.rich.b_nodes)


@pytest.mark.parametrize("name", LAWS)
def test_shares_have_mean_zero(name: str, tmp_path: Path) -> None:
    """The mean of a function over networks within 4.5 standard errors: 7e-6 a case; and what is added is taken away."""
    study = study_of(tmp_path, LAWS[name])
    law, ends, shares = shares_of(study)
    units = law.draw(reference, 7, np.arange(NETWORKS, dtype=np.uint32), WIDTH)
    found = shares(*units)
    values = found @ (np.tanh(1 + ends.w[:, 0] + ends.b) * (1 + ends.c) ** 2)
    assert abs(values.mean()) < 4.5 * values.std() / NETWORKS**0.5
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_a_smooth_function_is_its_mean_over_units(name: str, tmp_path: Path) -> None:
    """Less its expected value, which a quadrature gives; of degree 3 in C and in the noise of B at most."""
    study = study_of(tmp_path, LAWS[name])
    law, ends, shares = shares_of(study)
    w, b, c = law.draw(reference, 7, np.arange(50, dtype=np.uint32), WIDTH)

    def function(w: Any, b: Any, c: Any) -> Any:
        return np.tanh(0.5 + w[..., 0]) * (b - 1) ** 2 * (c - 0.5)

    fine = UnitNodes.product(law, law.nodes(200, "grid"), C_NODES, B_NODES)
    wanted = function(w, b, c).mean(1) - fine.weight @ function(fine.w, fine.b, fine.c)
    np.testing.assert_allclose(shares(w, b, c) @ function(ends.w, ends.b, ends.c), wanted, atol=3e-3)


def test_polynomials_of_several_coordinates_are_exact() -> None:
    """All of second degree in three coordinates, from quasi-random nodes of a normal law."""
    rng = np.random.default_rng(5)
    nodes, x = rng.normal(size=(32, 3)), rng.normal(size=(100, 3))

    def function(z: Any) -> Any:
        return 1 + z[:, 0] * z[:, 1] - z[:, 2] ** 2

    axis = Axis.polynomials(nodes, np.full(32, 1 / 32), normal=True)
    coefficients = axis.at_nodes @ function(nodes)
    np.testing.assert_allclose(axis.functions(x) @ coefficients, function(x), rtol=1e-10)
    assert axis.expected @ coefficients == pytest.approx(0, abs=1e-12)  # 1 + 0 - 1


@pytest.mark.parametrize("normal", [True, False])
def test_means_of_splines(normal: bool) -> None:
    """Of cubic polynomials inside the nodes, whose means are known: E z^2 = 1 and E z^4 is not cubic."""
    reach = 8.0 if normal else 3**0.5
    nodes = np.linspace(-reach, reach, 33)[::-1, None]
    axis = Axis.splines(nodes, normal)
    coefficients = axis.at_nodes @ (nodes[:, 0] ** 3 - 2 * nodes[:, 0] ** 2 + 5)
    assert axis.expected @ coefficients == pytest.approx(3, abs=1e-7)
