"""The recurrent NTK against independent programs: given values, a plain loop, JAX, finite networks, closed forms."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from rntk_cases import Case, cases, plain

from rnnlimits.kernels import rntk
from rnnlimits.kernels.rntk import compiled, reference, sequences
from rnnlimits.kernels.rntk.network import Elman

BACKENDS = ["numpy", pytest.param("host", marks=pytest.mark.needs_compiler)]


def some(seed: int, lengths: list[int], dimension: int = 1) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, dimension)) for length in lengths]


def error(found: Any, wanted: Any) -> float:
    return float(np.abs(np.asarray(found) / np.asarray(wanted) - 1).max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_reference_values(backend: str) -> None:
    seen = 0
    for case in cases():
        found = rntk.gram(case.x, network=case.network, kernel=case.kernel, backend=backend)
        # Where a correlation is exactly 1 or -1 the reference's own arccos has lost digits (the next test goes on).
        assert error(found, case.values) < (5e-9 if case.meets_an_end and case.kernel == "ntk" else 1e-12), case.name
        seen += 1
    assert seen > 80


@pytest.mark.parametrize("backend", BACKENDS)
def test_correlations_of_exactly_one(backend: str) -> None:
    """The cases whose reference values are not exact, against a loop that knows that |c| = 1."""
    chosen = [case for case in cases() if case.meets_an_end and case.kernel == "ntk"]
    assert chosen
    for case in chosen:
        found = rntk.gram(case.x, network=case.network, backend=backend)
        wanted = [[plain(a, b, case.network, a is b)[0] for b in case.x] for a in case.x]
        off = ~np.eye(len(case.x), dtype=bool)
        assert error(found[off], np.array(wanted)[off]) < 1e-12, case.name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize("output", ["last", "mean", "average"])
def test_everything_at_once_against_a_plain_loop(backend: str, activation: str, output: str) -> None:
    """Several inputs, layers, an initial state, unlike lengths on both sides, square and rectangular."""
    network = Elman(2, activation, 1.2, 0.7, 0.3, 0.6, 0.8, output)
    equal = output == "average"
    x = some(1, [5] * 6 if equal else [4, 1, 7, 3, 5, 2], 3)
    y = some(2, [5] * 3 if equal else [6, 2, 9], 3)
    for kernel, place in (("ntk", 0), ("nngp", 1)):
        square = rntk.gram(x, network=network, kernel=kernel, backend=backend)
        wanted = [[plain(a, b, network, i == j)[place] for j, b in enumerate(x)] for i, a in enumerate(x)]
        assert error(square, wanted) < 1e-12
        assert error(rntk.diagonal(x, network=network, kernel=kernel, backend=backend), np.diag(wanted)) < 1e-12
        across = rntk.gram(x, y, network=network, kernel=kernel, backend=backend)
        assert error(across, [[plain(a, b, network, False)[place] for b in y] for a in x]) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_step_is_the_arc_cosine_kernel(backend: str) -> None:
    """Cho and Saul 2009, degree 1, for ReLU and T = 1: (|a||b| / 2 pi m) (sin w + (pi - w) cos w)."""
    x = np.random.default_rng(3).standard_normal((7, 1, 4))
    found = rntk.gram(list(x), network=Elman(sigma_u=2.0), kernel="nngp", backend=backend)
    norms, inner = np.linalg.norm(x[:, 0], axis=1), x[:, 0] @ x[:, 0].T
    angle = np.arccos(np.clip(inner / np.outer(norms, norms), -1, 1))
    wanted = 4 / 4 / (2 * np.pi) * np.outer(norms, norms) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    np.testing.assert_allclose(found, wanted, rtol=1e-7)
    np.testing.assert_allclose(np.diag(found), norms**2 / 2, rtol=1e-14)


def test_a_wide_network_has_this_kernel() -> None:
    """The empirical NTK and NNGP of 300 networks of width 400; false alarms: 5 sigma, 2 x 3 entries, below 1e-5.

    The bias of order 1/width is allowed for with 2% of the entry.
    """
    rng, width, draws, sigma = np.random.default_rng(5), 400, 300, (1.3, 0.9, 0.4, 0.5, 0.8)
    x = some(6, [4, 3], 2)
    found: dict[tuple[int, int], list[tuple[float, float]]] = {(0, 0): [], (0, 1): [], (1, 1): []}
    for _ in range(draws):
        weights = [rng.standard_normal(shape) for shape in ((width, width), (width, 2), (width,), (width,))]
        one, other = (network_gradient(sequence, weights, sigma, rng) for sequence in x)
        pairs = {(0, 0): (one, one), (0, 1): (one, other), (1, 1): (other, other)}
        for place, (a, b) in pairs.items():
            found[place].append((sum(float((p * q).sum()) for p, q in zip(a[1], b[1], strict=True)), a[0] * b[0]))
    ntk, nngp = rntk.gram(x, network=Elman(1, "relu", *sigma), kernel="both", backend="numpy")
    for place, values in found.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(draws)
        for k, wanted in enumerate((ntk[place], nngp[place])):
            assert abs(mean[k] - wanted) < 5 * spread[k] + 0.02 * abs(wanted), (place, k, mean[k], wanted, spread[k])


def network_gradient(x: Any, weights: Any, sigma: Any, rng: Any) -> tuple[float, list[Any]]:
    """Output of a width-n ReLU network, and its gradient by W, U, b, v, written out."""
    w, u, b, v = weights
    sw, su, sb, sh, sv = sigma
    n, m = len(b), x.shape[1]
    states, slopes = [sh * rng.standard_normal(n)], []
    for step in x:
        g = sw / np.sqrt(n) * w @ states[-1] + su / np.sqrt(m) * u @ step + sb * b
        states.append(np.maximum(g, 0))
        slopes.append((g > 0).astype(float))
    gradient = [np.zeros((n, n)), np.zeros((n, m)), np.zeros(n), sv / np.sqrt(n) * states[-1]]
    back = sv / np.sqrt(n) * v
    for t in range(len(x) - 1, -1, -1):
        back = back * slopes[t]
        gradient[0] += sw / np.sqrt(n) * np.outer(back, states[t])
        gradient[1] += su / np.sqrt(m) * np.outer(back, x[t])
        gradient[2] += sb * back
        back = sw / np.sqrt(n) * w.T @ back
    return float(sv / np.sqrt(n) * v @ states[-1]), gradient


@pytest.mark.needs_jax
@pytest.mark.needs_compiler
def test_against_jax() -> None:
    """V_phi' from JAX's derivative of V_phi, where this code has formulas of its own."""
    import jax
    import jax.numpy as jnp

    def value(s: Any, q: Any, r: Any) -> Any:
        c = s / jnp.sqrt(q * r)
        return jnp.sqrt(q * r) / (2 * jnp.pi) * (c * (jnp.pi - jnp.arccos(c)) + jnp.sqrt(1 - c * c))

    def theta(x: Any, y: Any) -> Any:
        v, t, q, r = 0.0, 0.0, 0.0, 0.0
        for a, b in zip(x, y, strict=True):
            q, r, s = 1.44 * q / 2 + a * a + 0.09, 1.44 * r / 2 + b * b + 0.09, 1.44 * v + a * b + 0.09
            v, t = value(s, q, r), jax.grad(value)(s, q, r) * (s + 1.44 * t)
        return v + t

    with jax.enable_x64(True):
        x = np.random.default_rng(8).standard_normal((4, 6))
        both = jax.jit(jax.vmap(jax.vmap(theta, (None, 0)), (0, None)))(jnp.array(x), jnp.array(x))
        found = rntk.gram(x, network=Elman(sigma_w=1.2, sigma_b=0.3), backend="host")
        off = ~np.eye(4, dtype=bool)
        assert error(found[off], np.array(both)[off]) < 1e-12


# --- smooth activations ------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("output", ["last", "mean"])
def test_series_against_quadrature_in_two_variables(activation: str, output: str) -> None:
    network = Elman(2, activation, 1.3, 0.9, 0.2, 0.4, 1.1, output)
    x, y = some(11, [3, 1, 4]), some(12, [2, 3])
    for other in (None, y):
        compared = [rntk.gram(x, other, network=network, kernel="both", backend=name) for name in ("host", "numpy")]
        assert max(error(a, b) for a, b in zip(*compared, strict=True)) < 1e-10


@pytest.mark.parametrize(
    ("activation", "q", "other", "c"), list(product(["tanh", "logistic"], [0.3, 2.5], [4.0], [0.9]))
)
def test_quadrature_against_scipy(activation: str, q: float, other: float, c: float) -> None:
    from scipy.integrate import quad_vec

    from rnnlimits.kernels.activations import ACTIVATIONS
    from rnnlimits.kernels.rntk.expectations import expectations

    phi, s = ACTIVATIONS[activation], c * np.sqrt(q * other)
    nodes, weights = np.polynomial.legendre.leggauss(120)
    nodes, weights = 9 * nodes, 9 * weights * np.exp(-((9 * nodes) ** 2) / 2) / np.sqrt(2 * np.pi)

    def inner(z: float) -> Any:
        v = s / np.sqrt(q) * z + np.sqrt(other - s * s / q) * nodes
        density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        u = np.array([np.sqrt(q) * z])
        return density * np.array([phi.value(u)[0] * weights @ phi.value(v), phi.slope(u)[0] * weights @ phi.slope(v)])

    wanted = quad_vec(inner, -9, 9, epsabs=1e-13, epsrel=1e-12)[0]
    found = expectations(activation, np.array(q), np.array(other), np.array(s))
    np.testing.assert_allclose([found.value, found.slope], wanted, rtol=3e-10, atol=1e-12)


def test_variances_too_large_for_the_series_are_refused() -> None:
    with pytest.raises(rntk_error(), match=r"tanh: a hidden unit's variance of 1e\+06 is too large"):
        rntk.gram(np.array([[1e3], [1.0]]), network=Elman(activation="tanh"), backend="host")


def rntk_error() -> type[Exception]:
    from rnnlimits.kernels.interface import KernelError

    return KernelError


# --- arithmetic --------------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
def test_float32_is_close() -> None:
    """Typical entries to 1e-5 of the diagonal's size, at T = 150."""
    x = np.random.default_rng(20).standard_normal((40, 150))
    for activation in ("relu", "erf"):
        network = Elman(activation=activation, sigma_w=1.4, sigma_b=0.1)
        single = rntk.gram(x, network=network, dtype="float32", backend="host")
        double = rntk.gram(x, network=network, backend="host")
        assert single.dtype == np.float32
        assert np.abs(single - double).max() / np.diag(double).max() < 1e-5


@pytest.mark.needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_sequences_under_two_names(dtype: str) -> None:
    """arccos near 1 would cost half of the digits: 1e-3 in float32 at T = 150."""
    x = np.random.default_rng(21).standard_normal((9, 150))
    network = Elman(sigma_b=0.2)
    square = rntk.gram(np.concatenate([x, x]), network=network, dtype=dtype, backend="host")
    np.testing.assert_array_equal(square[9:, 9:], square[:9, :9])
    unit = np.finfo(dtype).eps
    np.testing.assert_allclose(np.diag(square[:9, 9:]), np.diag(square)[:9], rtol=4 * unit)
    across = rntk.gram(x, x, network=network, dtype=dtype, backend="host")
    np.testing.assert_allclose(np.diag(across), np.diag(square)[:9], rtol=4 * unit)


@pytest.mark.needs_compiler
@pytest.mark.parametrize("output", ["last", "mean"])
def test_bits_depend_on_nothing_but_the_pair(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, tiles, other sequences in the batch, one triangle or all rows."""
    lengths = [int(n) for n in np.random.default_rng(22).integers(1, 12, 83)]
    x, network = some(23, lengths, 2), Elman(2, sigma_w=1.1, sigma_b=0.1, output=output)
    whole = rntk.gram(x, network=network, backend="host", threads=1)
    np.testing.assert_array_equal(whole, whole.T)
    monkeypatch.setattr(compiled, "PAIR_STEPS_PER_THREAD", 1)  # or so little work would stay with one
    for threads in (2, 7):
        np.testing.assert_array_equal(rntk.gram(x, network=network, backend="host", threads=threads), whole)
    part = rntk.gram(x[10:31], network=network, backend="host")
    np.testing.assert_array_equal(part, whole[10:31, 10:31]) if output == "last" else assert_close(
        part, whole[10:31, 10:31]
    )
    tiles = [rntk.rows(x, a, min(a + 17, 83), network=network, backend="host") for a in range(0, 83, 17)]
    assert_same = np.testing.assert_array_equal if output == "last" else assert_close
    assert_same(np.concatenate(tiles), whole)  # the mean adds diagonals up in another order for (j, i)
    other = [rntk.rows(x, a, min(a + 5, 83), network=network, backend="host", threads=2) for a in range(0, 83, 5)]
    np.testing.assert_array_equal(np.concatenate(other), np.concatenate(tiles))


def assert_close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.needs_compiler
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_grams_are_positive(activation: str) -> None:
    x = np.random.default_rng(24).standard_normal((60, 20))
    assert rntk.require_psd(rntk.gram(x, network=Elman(activation=activation, sigma_w=1.1), backend="host")) > 0


def test_a_matrix_that_is_not_positive_is_named() -> None:
    with pytest.raises(rntk_error(), match=r"smallest eigenvalue -1, -0\.333 of the largest"):
        rntk.require_psd(np.array([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.needs_compiler
def test_accuracy_of_the_arcs() -> None:
    """Through T = 1: the kernel is then a function of the correlation alone."""
    angle = np.concatenate([np.linspace(0, np.pi, 400), 10.0 ** np.arange(-7, 0)])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None] * np.sqrt(2)
    for dtype, limit in (("float64", 3e-15), ("float32", 2e-6)):
        ntk, nngp = rntk.gram(list(x[:1]), list(x), network=Elman(), kernel="both", dtype=dtype, backend="host")
        c = (x[0, 0] @ x[:, 0].T) / 2
        wanted = c * (np.pi - np.arccos(np.clip(c, -1, 1))) / (2 * np.pi)
        smooth = angle > 1e-2
        assert np.abs((ntk - nngp)[0] - wanted)[smooth].max() < 20 * limit
        value = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        assert np.abs(nngp[0] - value).max() < limit


def test_work_is_linear() -> None:
    """Pairs and steps that the definition visits: counted, not timed."""
    visited = []
    original = reference.expectations

    def counting(activation: str, q: Any, other: Any, s: Any, distance: Any) -> Any:
        visited.append(np.asarray(s).size)
        return original(activation, q, other, s, distance)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "expectations", counting)
        counts = []
        for n, steps in ((4, 10), (8, 10), (4, 20)):
            visited.clear()
            rntk.gram(np.ones((n, steps)), backend="numpy")
            counts.append(sum(visited))
    assert counts == [160, 640, 320]


@pytest.mark.needs_compiler
def test_padding_stays_within_a_group() -> None:
    """Records of unlike lengths take little more than the sequences themselves."""
    lengths = [int(n) for n in np.random.default_rng(30).integers(7, 362, 400)]
    batch = sequences.batch([np.ones(n) for n in lengths])
    (prepared,) = compiled.prepare([batch], Elman(), np.dtype("float32"))
    assert prepared.table.data.size < 1.2 * sum(lengths) * prepared.table.form.record


def test_cases_are_named() -> None:
    assert len({case.name for case in cases()}) == sum(1 for _ in cases())
    assert isinstance(next(cases()), Case)
