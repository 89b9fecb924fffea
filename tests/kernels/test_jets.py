"""Derivatives of rich twins by their masses: against differences of the definition, JAX, and formulas by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from processors import host, reference
from runs import ROOT
from tangent_cases import NODES, Case, rich
from unrolled import double_jax

from rnnlimits.kernels.activations import ACTIVATIONS, Activation
from rnnlimits.kernels.reference_tangents import SPACING

needs_compiler = pytest.mark.needs_compiler

SHAPE = (3, 2, True, 0.1)  # depth, d, update_b, level of the clip


def check(case: Case, spacing: float = SPACING, tolerances: tuple[float, float] = (1e-9, 1e-8)) -> None:
    """Values to rounding; first and second derivatives to the errors of differences, relative to the largest."""
    ours, defined = case.shown(host), case.defined(spacing)
    for name, wanted in defined.items():
        found = ours[name]
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found[..., 0], wanted[..., 0], rtol=0, atol=1e-12, err_msg=name)
        for part, tolerance in zip((slice(1, -1), slice(-1, None)), tolerances, strict=True):
            scale = float(np.abs(wanted[..., part]).max())
            assert np.abs(found[..., part] - wanted[..., part]).max() < tolerance * scale, (name, part)
            assert scale > 1e-7, name


@needs_compiler
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_tangents_against_differences_of_the_definition(activation: str) -> None:
    check(Case.draw(rich(activation, 3, 2, True, 0.0), 3))


@needs_compiler
def test_more_directions_than_one_number_carries() -> None:
    """And a B that is not trained: its drift is nothing."""
    case = Case.draw(rich("tanh", 1, 1, False, 0.0), 37, steps=12)
    ours, defined = case.shown(host), case.shown(reference)
    assert not ours["drift of b"].any()
    for name in ("output", "drift of c"):
        np.testing.assert_allclose(ours[name], defined[name], rtol=0, atol=1e-8 * np.abs(defined[name]).max())


@needs_compiler
def test_the_clip_has_derivatives_too() -> None:
    """Differences are small, as the third derivative jumps at its level."""
    case = Case.draw(rich("tanh", *SHAPE), 2)
    check(case, 1e-4, (1e-8, 1e-5))
    free = Case.draw(rich("tanh", *SHAPE[:3], 0.0), 2)
    assert np.abs(case.shown(host)["output"] - free.shown(host)["output"]).max() > 1e-3


@needs_compiler
def test_an_activation_of_ones_own_has_tangents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of docs/howto/own-activation.md, whose C++ takes the smaller, the larger and a ratio."""
    page = (ROOT / "docs/howto/own-activation.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(# kernels/activations/rational.py\n.*?)```", page, re.DOTALL)
    assert found
    space: dict[str, Any] = {"__name__": "rational"}
    exec(compile(found[1], "own-activation.md", "exec"), space)
    activation: Activation = space["ACTIVATION"]
    assert all(word in activation.source for word in ("smaller(", "larger(", "ratio("))
    monkeypatch.setitem(ACTIVATIONS, activation.name, activation)
    check(Case.draw(rich(activation.name, 1, 1, True, 0.0), 2), 1e-4, (1e-8, 1e-5))


@pytest.mark.parametrize("name", [pytest.param("host", marks=needs_compiler), "numpy"])
def test_the_first_step_by_hand(name: str) -> None:
    """Yhat_0 is linear in the mass; C moves by -(alpha eps / K) (Yhat_0 - y) S."""
    training = rich("tanh", *SHAPE[:3], 0.0)
    case = Case.draw(training, 4, paths=1, steps=1)
    found = case.shown(host if name == "host" else reference, 1)
    value, ends = (np.tanh(points.w @ case.x[0, 0]) for points in (case.nodes, case.ends))
    assert training.richness is not None
    output = case.nodes.weight @ (case.nodes.c * value) / training.richness
    first, miss = case.ends.c * ends / training.richness - output, output - case.y[0, 0]
    root = np.sqrt(case.ends.weight)
    expected = [miss**2, *(2 * miss * root * first), 2 * (root * first) @ (root * first)]
    np.testing.assert_allclose(found["squared error"][0, 0], expected, rtol=1e-9)
    square, of_end = case.nodes.weight @ value**2, ends**2
    rate = (1.5 * training.richness / 20) ** 2
    by_mass = miss**2 * (of_end - square) + 2 * miss * first * square
    np.testing.assert_allclose(found["drift of c"][0, 1:-1], rate * root * by_mass, rtol=1e-9)
    bent = 4 * miss * first * (of_end - square) + 2 * first**2 * square
    np.testing.assert_allclose(found["drift of c"][0, -1], rate * case.ends.weight @ bent, rtol=1e-9)


@needs_compiler
@pytest.mark.needs_jax
def test_tangents_against_jax() -> None:
    """Four steps at depth 1 written out in JAX, and differentiated twice in each direction."""
    jax = double_jax()
    case = Case.draw(rich("tanh", 1, 1, True, 0.0), 3, paths=1, steps=4)
    found = case.shown(host, 4)["output"][0]

    def output(s: Any, end: Any) -> Any:
        return stepped(jax, case, end, jax.numpy.append((1 - s) * case.nodes.weight, s))

    def first(s: Any, end: Any) -> Any:
        return jax.jvp(lambda s: output(s, end), (s,), (1.0,))[1]

    def jet(end: Any) -> Any:
        return output(0.0, end), first(0.0, end), jax.jvp(lambda s: first(s, end), (0.0,), (1.0,))[1]

    compiled, ends = jax.jit(jet), np.stack([case.ends.w[:, 0], case.ends.b, case.ends.c], axis=1)
    of_ends = [compiled(end) for end in ends]
    values, firsts, seconds = (np.array(parts) for parts in zip(*of_ends, strict=True))
    weight = case.ends.weight
    np.testing.assert_allclose(found[:, 0], values[0], rtol=1e-12)
    np.testing.assert_allclose(found[:, 1:-1], firsts.T * np.sqrt(weight), rtol=1e-10)
    np.testing.assert_allclose(found[:, -1], weight @ seconds, rtol=1e-10)


def stepped(jax: Any, case: Case, end: Any, weight: Any) -> Any:
    """Outputs on the probes after training, by docs/model.md, "Finite width", on a path in one dimension.

    end: w, b and c of one more node; weight: of all.
    """
    tanh, training, eps = jax.numpy.tanh, case.training, case.training.richness
    assert eps is not None
    nodes = np.stack([case.nodes.w[:, 0], case.nodes.b, case.nodes.c])
    w, b, c = jax.numpy.concatenate([nodes, end[:, None]], axis=1)
    memory, before = 0.0, np.zeros(NODES + 1)
    for x, y in zip(case.x[0, :, 0], case.y[0], strict=True):
        hidden = tanh(w * x + memory)
        slope = 1 - hidden**2
        push = training.alpha * eps / training.steps_per_time * ((weight * c * hidden).sum() / eps - y)
        reach = (weight * c * slope).sum()
        w, b, c = w - push * c * slope * x, b - push * reach * before, c - push * hidden
        memory, before = (weight * b * hidden).sum(), hidden
    m = np.zeros((len(case.histories), 1))
    for x in case.histories[..., 0].T:
        hidden = tanh(w * x[:, None] + m)
        m = (hidden @ (weight * b))[:, None]
    return hidden @ (weight * c) / eps
