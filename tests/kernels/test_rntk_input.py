"""What is refused, in one line each; layouts; the gradient; matrices in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlimits.kernels import rntk
from rnnlimits.kernels.interface import KernelError
from rnnlimits.kernels.rntk import memory
from rnnlimits.kernels.rntk.network import Elman

GOOD = np.ones((2, 3))
RAGGED = np.array([np.ones(2), np.ones(3)], dtype=object)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (RAGGED, "x is an object array; give sequences of unlike lengths as a list of arrays"),
        (np.ones(4), r"x has shape \(4,\); give \(n, T\)"),
        (np.ones((0, 4)), r"x has shape \(0, 4\): it has no values"),
        ([], "x has no sequences"),
        ([np.ones(3), np.ones(0)], r"x\[1\] is empty"),
        (
            [np.ones((3, 2)), np.ones((3, 1))],
            "x has sequences of 3 rows and 1 to 2 columns; if these are",
        ),
        ([np.ones((3, 2)), np.ones((4, 1))], r"x\[1\] has 1 inputs at a step, x\[0\] has 2"),
        ([np.ones((3, 2, 1))], r"x\[0\] has shape \(3, 2, 1\)"),
        ([np.ones(3), np.array([1.0, np.nan])], "x: sequence 1 has nan at step 1"),
        (np.array([[1.0, np.inf]]), "x: sequence 0 has inf at step 1"),
        ([["a", "b"]], r"x\[0\] cannot be read as real numbers"),
        (np.ones((2, 2)) * 1j, "x cannot be read as real numbers"),
        (7, "x is int; give an array"),
    ],
)
def test_bad_sequences(x: Any, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        rntk.gram(x, backend="numpy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sigma_w": -1.0}, "sigma_w: -1.0 is not allowed; a standard deviation is a number >= 0"),
        ({"sigma_b": float("nan")}, "sigma_b: nan is not allowed"),
        ({"activation": "gelu"}, "activation: 'gelu' is not known; allowed: relu, erf, tanh, logistic"),
        ({"output": "first"}, "output: 'first' is not known; allowed: last, mean, average"),
        ({"layers": 0}, "layers: 0 is not allowed; a whole number from 1"),
        ({"layers": 1.5}, "layers: 1.5 is not allowed"),
        ({"sigma_w": "1.3"}, "sigma_w: '1.3' is not allowed; a standard deviation is a number >= 0"),
        ({"sigma_u": True}, "sigma_u: True is not allowed"),
    ],
)
def test_bad_networks(values: dict[str, Any], words: str) -> None:
    with pytest.raises(KernelError, match=words):
        Elman(**values)


def test_bad_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"kernel": "rbf"}, "kernel: 'rbf' is not known; allowed: ntk, nngp, both"),
        ({"dtype": "float16"}, "dtype: 'float16' is not known"),
        ({"dtype": np.int32}, "dtype: 'int32' is not known; allowed: float64, float32"),
        ({"dtype": None}, "dtype: None is not known"),
        ({"backend": "tpu"}, "'tpu' is not known"),
        ({"network": {"sigma_w": 1.2}}, r"network is dict; give a network, such as ElmanNetwork\(sigma_w=1.2\)"),
        ({"y": Elman()}, "y is a network; give it by its name, network="),
        ({"threads": 0}, "threads: 0 is not allowed; a whole number from 1, or -1 for all"),
        ({"threads": -2}, "threads: -2 is not allowed"),
        ({"threads": 1.5}, "threads: 1.5 is not allowed"),
        ({"threads": True}, "threads: True is not allowed"),
        ({"layout": "time_last"}, "layout: 'time_last' is not known; allowed: steps_first, channels_first"),
        ({"y": np.ones((2, 3, 2))}, "x has 1 inputs at a step, y has 2"),
        ({"y": [np.ones(2)], "network": Elman(output="average")}, "output 'average' needs sequences of one length"),
    ]
    for options, words in refused:
        with pytest.raises(KernelError, match=words):
            rntk.gram(GOOD, **options)
    with pytest.raises(KernelError, match=r"rows 1 \.\. 5 are not allowed"):
        rntk.rows(GOOD, 1, 5)
    monkeypatch.setattr(memory, "room", lambda: memory.Room(10, "of this machine"))
    with pytest.raises(KernelError, match=r"2 x 2 needs .* GiB of memory.*write it in shards"):
        rntk.gram(GOOD, backend="numpy")


@pytest.mark.needs_compiler
@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"dtype": np.float32}, {"dtype": "float32"}),
        ({"dtype": np.dtype("f8")}, {"dtype": "float64"}),
        ({"threads": -1}, {"threads": None}),
        ({"threads": np.int64(2)}, {"threads": 2}),
        ({"network": Elman(np.int64(2), sigma_w=np.float32(0.5))}, {"network": Elman(2, sigma_w=0.5)}),
    ],
)
def test_numpys_own_numbers_and_types_are_taken(given: dict[str, Any], same: dict[str, Any]) -> None:
    found, wanted = (rntk.gram(GOOD, backend="host", **options) for options in (given, same))
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.needs_compiler
def test_layouts_of_other_packages() -> None:
    """An array (n, channels, T), and lists of (channels, T_i), are the same sequences; a doubt is a question."""
    rng = np.random.default_rng(40)
    x = rng.normal(size=(3, 7, 2))
    wanted = rntk.gram(x, backend="host")
    other = x.transpose(0, 2, 1)
    for given in (other, list(other), [a.tolist() for a in other]):
        np.testing.assert_array_equal(rntk.gram(given, layout="channels_first", backend="host"), wanted)
        np.testing.assert_array_equal(
            rntk.diagonal(given, layout="channels_first", backend="host"), rntk.diagonal(x, backend="host")
        )
    np.testing.assert_array_equal(rntk.gram(x, layout="steps_first", backend="host"), wanted)
    wide = rntk.gram(other, layout="steps_first", backend="host")
    np.testing.assert_array_equal(wide, rntk.gram(list(other), backend="host"))
    assert not np.array_equal(wide, wanted)
    series = rng.normal(size=(3, 5))
    np.testing.assert_array_equal(
        rntk.gram(series, layout="channels_first", backend="host"), rntk.gram(series, backend="host")
    )
    for unclear in (other, [rng.normal(size=(2, steps)) for steps in (4, 6, 5)]):
        with pytest.raises(KernelError, match="layout='channels_first'"):
            rntk.gram(unclear)
    ragged = [rng.normal(size=(steps, 2)) for steps in (4, 6, 5)]
    found = rntk.gram([a.T for a in ragged], layout="channels_first", backend="host")
    np.testing.assert_array_equal(found, rntk.gram(ragged, backend="host"))


@pytest.mark.needs_compiler
def test_a_state_that_grows_without_bound_is_named() -> None:
    x = np.ones((2, 400))
    with pytest.raises(KernelError, match=r"sigma_w=2: the variance of the state grows beyond float32"):
        rntk.gram(x, network=Elman(sigma_w=2.0), dtype="float32", backend="host")
    assert np.isfinite(rntk.gram(x, network=Elman(sigma_w=2.0), backend="host")).all()


# --- gradient ----------------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
@pytest.mark.parametrize("activation", ["relu", "erf", "tanh", "logistic"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_gradient_against_differences(activation: str, layers: int, kernel: str) -> None:
    network, step = Elman(layers, activation, 1.4, 1.1, 0.3, 0.4, 0.9), 1e-5
    rng = np.random.default_rng(40)
    for lengths in ((4, 4), (2, 4), (4, 2)):
        x, y = (rng.standard_normal((length, 2)) for length in lengths)
        for other in (y, None):
            wanted = np.empty_like(x)
            for place in np.ndindex(x.shape):
                moved = [x.copy(), x.copy()]
                moved[0][place] += step
                moved[1][place] -= step
                high, low = (value(one, other, network, kernel) for one in moved)
                wanted[place] = (high - low) / (2 * step)
            found = rntk.input_gradient(x, other, network=network, kernel=kernel)
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


def value(x: Any, y: Any, network: Elman, kernel: str) -> float:
    return float(rntk.gram([x], None if y is None else [y], network=network, kernel=kernel, backend="host")[0, 0])


def test_relu_forgets_keeps_or_sticks_to_the_past() -> None:
    """For ReLU, NNGP(x, x) = sum_t (sigma_w^2 / 2)^(T - t) x_t^2 / 2 and NTK(x, x) = sum_t (T - t + 2) times that."""
    x = np.random.default_rng(41).standard_normal(50)
    later = np.arange(49, -1, -1)
    for sigma_w in (1.3, 2**0.5, 1.5):
        weight = (sigma_w**2 / 2) ** later * x
        network = Elman(sigma_w=sigma_w)
        np.testing.assert_allclose(rntk.input_gradient(x, network=network, kernel="nngp"), weight, rtol=1e-12)
        np.testing.assert_allclose(rntk.input_gradient(x, network=network), (later + 2) * weight, rtol=1e-12)


def test_gradient_refuses_other_outputs() -> None:
    with pytest.raises(KernelError, match="output 'mean' is not supported"):
        rntk.input_gradient(np.ones(3), network=Elman(output="mean"))


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.needs_compiler
def test_shards_are_the_matrix_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    from mpi4py import MPI

    from rnnlimits.base.errors import StudyError
    from rnnlimits.elman import grams
    from rnnlimits.files.ensembles import open_ensemble

    rng = np.random.default_rng(44)
    x = [rng.standard_normal(int(n)) for n in rng.integers(3, 9, 23)]
    network = Elman(sigma_h=0.3, sigma_b=0.1)
    options: dict[str, Any] = {"network": network, "kernel": "both", "comm": MPI.COMM_SELF, "tile_bytes": 5 * 23 * 16}
    path = grams.gram_to(tmp_path, x, **options)
    ntk, nngp = rntk.gram(x, network=network, kernel="both")
    with open_ensemble(path, "gram-ensemble") as file:
        np.testing.assert_array_equal(file["ntk"][()], ntk)
        np.testing.assert_array_equal(file["nngp"][()], nngp)
    shards = sorted((tmp_path / "shards").rglob("*.h5"))
    assert len(shards) == 5
    kept = {shard: shard.stat().st_mtime_ns for shard in shards}
    shards[2].unlink()
    grams.gram_to(tmp_path, x, **options)
    assert {s for s in shards if s.stat().st_mtime_ns != kept[s]} == {shards[2]}
    shards[1].write_bytes(shards[1].read_bytes()[:-900])
    with pytest.raises(StudyError, match=shards[1].name):
        grams.gram_to(tmp_path, x, **options)
