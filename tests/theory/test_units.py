"""The quadrature over the law of one unit, against its moments and against draws that know nothing of nodes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rnnlimits.theory.laws import ParameterLaw
from rnnlimits.theory.units import UnitNodes, c_rule

NODES = 6
LAWS: dict[str, dict[str, Any]] = {
    "uniform": {"c_kind": "uniform", "c_std": 1.3},
    "gaussian": {"c_kind": "gaussian", "c_std": 0.7},
    "skewed": {"c_kind": "two-point", "c_std": 1.1, "c_probability": 0.1},
    "even two-point": {"c_kind": "two-point", "c_std": 0.9, "c_probability": 0.5},
    "noise of B": {"c_kind": "uniform", "c_std": 1.0, "noise": 0.4},
}
every = pytest.mark.parametrize("name", LAWS)


def law_of(name: str) -> ParameterLaw:
    one = np.ones(1)
    fields = {"mean": 0.3 * one, "factor": 0.8 * np.eye(1), "offset": 0.2, "slope": 0.6, "direction": one, "noise": 0.0}
    return ParameterLaw("tanh", 7, "gaussian", **{**fields, **LAWS[name]})


def nodes_of(name: str) -> UnitNodes:
    law = law_of(name)
    return UnitNodes.product(law, law.nodes(NODES, "gauss-hermite"), 4, 3)


def moment_of_c(name: str, power: int) -> float:
    """E C^p in closed form."""
    law = LAWS[name]
    if law["c_kind"] == "uniform":
        return 0.0 if power % 2 else (math.sqrt(3) * law["c_std"]) ** power / (power + 1)
    if law["c_kind"] == "gaussian":
        return 0.0 if power % 2 else law["c_std"] ** power * math.prod(range(1, power, 2))
    p = law["c_probability"]
    return law["c_std"] ** power * (p * ((1 - p) / p) ** (power / 2) + (1 - p) * (-math.sqrt(p / (1 - p))) ** power)


def normal_moment(power: int) -> float:
    return 0.0 if power % 2 else float(math.prod(range(1, power, 2)))


def moment_of_wb(noise: float, of_w: int, of_b: int) -> float:
    """E (W - m)^i (B - offset)^j with B - offset = .6 (W - m) + noise, by the binomial theorem."""
    terms = (
        math.comb(of_b, k) * 0.6**k * noise ** (of_b - k) * 0.8 ** (of_w + k) * normal_moment(of_w + k)
        * normal_moment(of_b - k)
        for k in range(of_b + 1)
    )  # fmt: skip
    return sum(terms)


@every
def test_polynomials_are_exact(name: str) -> None:
    """4 nodes for C are exact to degree 7, 6 for W to 11, 3 for the noise of B to 5."""
    nodes = nodes_of(name)
    w, b = nodes.w[:, 0] - 0.3, nodes.b - 0.2
    for of_c, of_w, of_b in np.ndindex(8, 5, 5):
        wanted = moment_of_c(name, of_c) * moment_of_wb(LAWS[name].get("noise", 0.0), of_w, of_b)
        found = nodes.weight @ (nodes.c**of_c * w**of_w * b**of_b)
        assert found == pytest.approx(wanted, rel=1e-11, abs=1e-11), (of_c, of_w, of_b)


@every
def test_there_are_no_more_nodes_than_the_law_needs(name: str) -> None:
    of_c = 2 if "point" in LAWS[name]["c_kind"] else 4
    of_b = 3 if "noise" in LAWS[name] else 1
    assert len(nodes_of(name)) == NODES * of_b * of_c
    assert len(c_rule(law_of(name), 4)[0]) == of_c
    assert nodes_of(name).weight.min() > 0


@every
def test_the_opposite_of_a_node_has_the_other_sign_of_c(name: str) -> None:
    nodes = nodes_of(name)
    if name == "skewed":
        assert nodes.opposite is None
        return
    assert nodes.opposite is not None
    np.testing.assert_array_equal(nodes.opposite[nodes.opposite], np.arange(len(nodes)))
    np.testing.assert_allclose(nodes.c[nodes.opposite], -nodes.c, rtol=0, atol=1e-15)
    for values in (nodes.w, nodes.b):
        np.testing.assert_array_equal(values[nodes.opposite], values)
    np.testing.assert_allclose(nodes.weight[nodes.opposite], nodes.weight, rtol=1e-13)
