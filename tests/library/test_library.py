"""The public functions: against linear algebra, quadrature and the files of a real run; and what they refuse.

Nothing that a test expects comes from the functions below rnnlimits.library that it is held against.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from nbclient import NotebookClient
from numpy.typing import NDArray
from runs import ENVIRONMENT, ROOT, TINY, TINY_RNTK, run, write_rntk, write_study
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.optimize import brentq
from scipy.special import erf

import rnnlimits
from rnnlimits import StudyError

Array = NDArray[np.float64]
SECTIONS = {name: value for name, value in TINY.items() if name != "name"}
FOLLOWED = {**SECTIONS, "twin": {"follow": True}}


def tiny(**changes: Any) -> rnnlimits.Study:
    """TINY, with sections replaced or, for mappings, updated."""
    base: dict[str, Any] = {**SECTIONS}
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) else value
    return rnnlimits.Study(**base)


def normal(function: Callable[[float], float]) -> float:
    """E function(W), W standard normal, by adaptive quadrature."""
    density = lambda w: function(w) * np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    return float(quad(density, -12, 12, epsabs=1e-13, epsrel=1e-12, limit=200)[0])


# --- the names -------------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_no_package_hides_one() -> None:
    for name in rnnlimits.__all__:
        assert getattr(rnnlimits, name) is not None
        assert name in dir(rnnlimits)
    packages = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert not packages & set(rnnlimits.__all__)
    with pytest.raises(AttributeError, match="'trian'"):
        _ = rnnlimits.trian  # type: ignore[attr-defined]


def test_every_public_function_says_what_it_raises() -> None:
    for name in rnnlimits.__all__:
        value = getattr(rnnlimits, name)
        if callable(value) and name not in ("StudyError", "Limit", "Results", "RntkStudy"):
            assert "Raises StudyError" in " ".join(value.__doc__.split()), name


def inside(code: str, folder: Path) -> str:
    """What a Python of its own prints, in an empty folder."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_brings_nothing_heavy(tmp_path: Path) -> None:
    code = "import rnnlimits, sys; print(sorted({'numpy', 'pydantic', 'yaml', 'xarray', 'mpi4py'} & {*sys.modules}))"
    assert inside(code, tmp_path).strip() == "[]"


def test_everything_but_a_run_needs_no_mpi_and_writes_no_file(tmp_path: Path) -> None:
    code = f"""
import sys, rnnlimits
study = rnnlimits.Study(**{SECTIONS!r})
limit = rnnlimits.limit(study)
limit.output(1.0); limit.solve([0.5]); limit.kernel(); limit.memory(); limit.eigenvalues; limit.loss(1.0)
rnnlimits.paths(study, 5); rnnlimits.train(study, width=8, replicas=2); rnnlimits.twin(study, steps_per_time=8)
rnnlimits.load("demo"); rnnlimits.rntk.gram([[1.0, 2.0]]); study.to_yaml(); rnnlimits.run_study
try:
    rnnlimits.open("nowhere")
except rnnlimits.StudyError as error:
    print(error)
print("mpi4py" in sys.modules)
"""
    assert inside(code, tmp_path).splitlines()[-1] == "False"
    assert list(tmp_path.iterdir()) == []


# --- studies ---------------------------------------------------------------------------------------------------


def test_a_study_in_python_and_in_a_file_have_one_id(tmp_path: Path) -> None:
    ours = tiny(seed=np.int64(7), training={"width": np.array([16, 33]), "beta": (np.float64(0.75),)})
    file = rnnlimits.load(write_study(tmp_path))
    assert ours.id == file.id
    assert tiny(seed=8).id != ours.id


def test_a_study_survives_its_own_text(tmp_path: Path) -> None:
    ours = tiny(name="mine")
    again = rnnlimits.load(ours.save(tmp_path / "deep" / "mine.yaml"))
    assert (again.to_yaml(), again.id) == (ours.to_yaml(), ours.id)
    assert yaml.safe_load(ours.to_yaml())["training"]["width"] == [16, 33]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine.yaml"]


def test_what_ships_is_loaded_by_name() -> None:
    demo = rnnlimits.load("demo")
    assert demo.to_yaml() == rnnlimits.load(ROOT / "config" / "demo.yaml").to_yaml()
    assert isinstance(demo, rnnlimits.Study)
    assert isinstance(rnnlimits.load("rntk"), rnnlimits.RntkStudy)


def test_a_saved_study_still_finds_its_series(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [f"{np.sin(0.7 * k):.6f},{np.cos(0.3 * k):.6f}" for k in range(40)]
    (tmp_path / "data" / "series.csv").write_text("\n".join(["x,y", *rows, ""]))
    chain = {"kind": "recorded", "file": tmp_path / "data" / "series.csv", "columns": ["x"], "target_column": "y"}
    ours = rnnlimits.Study(chain=chain, training=TINY["training"], probes=TINY["probes"], limit=TINY["limit"])
    again = rnnlimits.load(ours.save(tmp_path / "other" / "mine.yaml"))
    assert again.id == ours.id
    np.testing.assert_array_equal(rnnlimits.limit(again).output(1.0), rnnlimits.limit(ours).output(1.0))


# --- the limit -------------------------------------------------------------------------------------------------

ONE_X = {  # the network sees one constant: the memory has one value, and the kernel equation one unknown
    "chain": {"kind": "finite-state", "transition": [[0.7, 0.3], [0.4, 0.6]], "x": [0.8, 0.8], "z": [0.5, -1.0]},
    "target": {"sin_x": 0.0, "z": 1.0},
    "network": {"b": {"offset": 0.3, "slope": 0.5}, "c": {"kind": "uniform", "std": 1.2}},
    "training": {"beta": [0.75], "width": [64], "alpha": 0.7},
    "limit": {"nodes": 80},
}


def mean_map(x: float, m: float) -> float:
    """E[B tanh(W x + m)], B = 0.3 + 0.5 W."""
    return normal(lambda w: (0.3 + 0.5 * w) * np.tanh(w * x + m))


def kernel_by_hand(x: float, m: float, x2: float, m2: float) -> float:
    """Kern of tanh with standard normal W and s.d. 1.2 of C (docs/model.md, eq. 22)."""

    def integrand(w: float) -> float:
        s, s2 = np.tanh(w * x + m), np.tanh(w * x2 + m2)
        return float(s * s2 + 1.44 * x * x2 * (1 - s**2) * (1 - s2**2))

    return normal(integrand)


def test_the_limit_of_one_input_is_an_exponential() -> None:
    """g' = -alpha Kern(h, h)(g - E y), and elsewhere g follows in proportion; on histories of our own."""
    limit = rnnlimits.limit(rnnlimits.Study(**ONE_X))
    fixed = brentq(lambda m: mean_map(0.8, m) - m, -1, 1, xtol=1e-14)
    own, mean_y = kernel_by_hand(0.8, fixed, 0.8, fixed), 4 / 7 * 0.5 - 3 / 7
    histories = np.array([[0.8] * 60, [0.8] * 59 + [-0.4]], dtype=np.float32).astype(np.float64)
    histories[:, :] = np.round(histories, 6)
    other = kernel_by_hand(-0.4, fixed, 0.8, fixed)
    time = np.array([0.0, 0.5, 4.0])
    here = mean_y * (1 - np.exp(-0.7 * own * time))
    expected = np.stack([here, here * other / own], axis=1)
    np.testing.assert_allclose(limit.output(time, histories), expected, rtol=0, atol=1e-9)
    assert limit.output(0.5, histories).shape == (2,)
    np.testing.assert_allclose(limit.output(4, list(histories)), expected[2], rtol=0, atol=1e-9)
    assert float(limit.loss(0.0)) == pytest.approx(4 / 7 * 0.25 + 3 / 7, abs=1e-12)
    assert limit.loss_floor == pytest.approx(4 / 7 * 0.25 + 3 / 7 - mean_y**2, abs=1e-12)
    np.testing.assert_allclose(limit.eigenvalues[:2], [own, 0.0], rtol=0, atol=1e-9)


def test_the_memory_of_a_constant_input_is_the_fixed_point() -> None:
    limit = rnnlimits.limit(rnnlimits.Study(**ONE_X))
    memory = limit.memory(np.full((1, 80), -0.9))
    fixed = brentq(lambda m: mean_map(-0.9, m) - m, -1, 1, xtol=1e-14)
    assert float(memory[0, -1]) == pytest.approx(fixed, abs=1e-12)
    direct = 0.0
    for step in range(4):
        assert float(memory[0, step]) == pytest.approx(direct, abs=1e-12)
        direct = mean_map(-0.9, direct)
    assert float(limit.memory_map(-0.9, fixed)) == pytest.approx(fixed, abs=1e-12)
    assert limit.memory_map([[0.1], [0.2], [0.3]], 0.0).shape == (3,)


THREE = {
    "chain": {
        "kind": "finite-state",
        "transition": [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]],
        "x": [-1.0, 0.3, 1.2],
        "z": [0.5, -0.2, 0.1],
    },
    "target": {"sin_x": 1.0, "z": 0.5},
    "network": {"b": {"offset": 0.05, "slope": 0.1}},
    "training": {"beta": [0.75], "width": [64]},
    "limit": {"nodes": 80},
}


def test_the_limit_of_a_finite_chain_is_a_matrix_exponential() -> None:
    """Atoms are the words of the last six states; what came before them moves the memory by less than 1e-8."""
    nodes = np.linspace(-9, 9, 301)
    weight = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    transition, x, z = (np.array(THREE["chain"][key]) for key in ("transition", "x", "z"))  # type: ignore[index]
    law = np.linalg.lstsq(np.vstack([transition.T - np.eye(3), np.ones(3)]), [0, 0, 0, 1], rcond=None)[0]
    words = list(itertools.product(range(3), repeat=6))
    mass = np.array([law[w[0]] * np.prod([transition[a, b] for a, b in itertools.pairwise(w)]) for w in words])

    def memory_after(inputs: Array) -> float:
        m = 0.0
        for value in inputs:
            m = float(weight @ ((0.05 + 0.1 * nodes) * np.tanh(nodes * value + m)))
        return m

    def features(inputs: Array, m: Array) -> Array:
        s = np.tanh(inputs[:, None] * nodes + m[:, None])
        return np.concatenate([s, (1 - s**2) * inputs[:, None]], axis=1) * np.sqrt(np.concatenate([weight, weight]))

    last = np.array([w[-1] for w in words])
    phi = features(x[last], np.array([memory_after(x[list(w[:-1])]) for w in words]))
    histories = np.random.default_rng(3).uniform(-1.2, 1.2, (4, 9))
    ours = features(histories[:, -1], np.array([memory_after(h[:-1]) for h in histories]))
    y = np.sin(x[last]) + 0.5 * z[last]
    # theta' = b - A theta with the features of our own quadrature
    size = phi.shape[1]
    system = np.zeros((size + 1, size + 1))
    system[:-1, :-1], system[:-1, -1] = -(phi * mass[:, None]).T @ phi, (phi * mass[:, None]).T @ y
    expected = [ours @ expm(system * t)[:-1, -1] for t in (0.7, 2.0)]
    limit = rnnlimits.limit(rnnlimits.Study(**THREE))
    np.testing.assert_allclose(limit.output([0.7, 2.0], histories), expected, rtol=0, atol=1e-8)
    assert np.abs(expected).max() > 0.1


def test_the_kernel_of_erf_is_the_arcsine() -> None:
    """Histories of one step have no memory; W has covariance S, C the s.d. 1.3 (docs/model.md, eq. 25 and 26)."""
    covariance = np.array([[1.0, 0.3], [0.3, 0.7]])
    study = tiny(
        chain={"dimension": 2},
        target={"z": [0.5, 0.1]},
        network={
            "activation": "erf",
            "w": {"kind": "gaussian", "covariance": covariance},
            "c": {"kind": "gaussian", "std": 1.3},
        },
    )
    x, x2 = np.random.default_rng(1).normal(size=(2, 5, 2))
    cross, own, other = x @ covariance @ x2.T, (x @ covariance * x).sum(1), (x2 @ covariance * x2).sum(1)
    spread = (1 + 2 * own)[:, None] * (1 + 2 * other)
    value = 2 / np.pi * np.arcsin(2 * cross / np.sqrt(spread))
    slope = 4 / np.pi / np.sqrt(spread - 4 * cross**2)
    found = rnnlimits.limit(study).kernel(x[:, None], x2[:, None])
    assert found.dims == ("probe", "probe_")
    np.testing.assert_allclose(found, value + 1.69 * (x @ x2.T) * slope, rtol=0, atol=1e-12)


def test_the_kernel_with_memories_is_the_sampled_one() -> None:
    """Within 4.5 standard errors of 1e6 draws: false alarm 7e-6."""
    limit = rnnlimits.limit(tiny(network={"activation": "erf"}))
    first, second = np.array([[0.5, -1.0, 0.3]]), np.array([[1.1, 0.2, -0.4]])
    m, m2 = (float(limit.memory(history)[0, -1]) for history in (first, second))
    w = np.random.default_rng(2).standard_normal(1_000_000)
    a, a2 = w * 0.3 + m, w * -0.4 + m2
    values = erf(a) * erf(a2) + 0.3 * -0.4 * 4 / np.pi * np.exp(-(a**2) - a2**2)
    assert abs(float(limit.kernel(first, second)[0, 0]) - values.mean()) < 4.5 * values.std() / 1000


def test_own_histories_that_are_the_studys_change_nothing() -> None:
    study = tiny()
    limit = rnnlimits.limit(study)
    np.testing.assert_array_equal(limit.output([0.5, 1.0], limit.probes), limit.output([0.5, 1.0]))
    np.testing.assert_array_equal(limit.output(1.0, limit.probes[..., 0]), limit.output(1.0))
    ours, theirs = (rnnlimits.train(study, width=16, replicas=4, histories=h) for h in (None, limit.probes))
    xr.testing.assert_identical(ours, theirs)


def test_no_number_depends_on_the_number_of_threads() -> None:
    study = tiny()
    one, three = (rnnlimits.limit(study, cores=cores) for cores in (1, 3))
    xr.testing.assert_identical(one.solve([0.0, 1.0]), three.solve([0.0, 1.0]))
    alone, shared = (rnnlimits.train(study, width=16, replicas=7, cores=cores) for cores in (1, 3))
    xr.testing.assert_identical(alone, shared)
    alone, shared = (rnnlimits.twin(study, steps_per_time=16, paths=5, cores=cores) for cores in (1, 3))
    xr.testing.assert_identical(alone, shared)


# --- paths and trainings ---------------------------------------------------------------------------------------


def test_paths_are_those_of_the_chain() -> None:
    """X' = 0.5 X + 0.4 tanh(Z) + 0.5 xi; the mean of xi within 4.5 standard errors: false alarm 1.4e-5 for both."""
    data = rnnlimits.paths(tiny(), np.int64(400), replicas=50.0)  # type: ignore[arg-type]
    assert dict(data.sizes) == {"path": 50, "step": 400, "x_component": 1, "z_component": 1}
    x, z, y, m = data.x.values[..., 0], data.z.values[..., 0], data.y.values, data.memory.values
    np.testing.assert_allclose(y, np.sin(x) + 0.5 * z, rtol=0, atol=1e-13)
    for noise in (
        (x[:, 1:] - 0.5 * x[:, :-1] - 0.4 * np.tanh(z[:, :-1])) / 0.5,
        (z[:, 1:] - 0.6 * z[:, :-1] - 0.3 * np.sin(x[:, :-1])) / 0.5,
    ):
        assert abs(noise.mean()) < 4.5 / np.sqrt(noise.size)
        assert abs(noise.var() - 1) < 4.5 * np.sqrt(2 / noise.size)
    for path in (0, 7):
        step = normal(lambda w: (0.2 + 0.6 * w) * np.tanh(w * x[path, 4] + m[path, 4]))  # noqa: B023
        assert m[path, 5] == pytest.approx(step, abs=1e-12)
    np.testing.assert_array_equal(m[:, 0], 0.0)
    later = rnnlimits.paths(tiny(), 400, replicas=2, first=30)
    np.testing.assert_array_equal(later.x, data.x.sel(path=[30, 31]))


def test_a_replica_is_the_same_in_any_company() -> None:
    study = tiny()
    every = rnnlimits.train(study, width=16, replicas=8)
    part = rnnlimits.train(study, width=np.int64(16), beta=np.float32(0.75), replicas=3, first=3)
    xr.testing.assert_identical(every.sel(replica=[3, 4, 5]), part)
    assert part.attrs["steps_per_time"] == 16
    np.testing.assert_array_equal(part.pair, [1, 2, 2])
    np.testing.assert_array_equal(part.sign, [-1, 1, -1])


def test_a_network_may_have_any_width_and_steps() -> None:
    data = rnnlimits.train(tiny(), width=12, beta=0.6, steps_per_time=20, depth=2, replicas=2)
    assert {name: data.attrs[name] for name in ("width", "beta", "steps_per_time", "depth")} == {
        "width": 12,
        "beta": 0.6,
        "steps_per_time": 20,
        "depth": 2,
    }


def test_a_network_of_a_richness_is_that_of_its_beta() -> None:
    """To the last bit at N = 16, where eps = 1/2 is that of beta = 3/4; else up to rounding, 1e-10 after 24 steps."""
    study = tiny(precision="float64")
    one, other = (rnnlimits.train(study, width=16, **at) for at in ({"beta": 0.75}, {"richness": 0.5}))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], other[name])
    assert (other.attrs["richness"], other.attrs["beta"]) == (0.5, 0.75)
    eps = 0.3
    one = rnnlimits.train(study, width=24, beta=1 + np.log(eps) / np.log(24), steps_per_time=24)
    fixed = tiny(precision="float64", training={"beta": None, "richness": [eps]})
    other = rnnlimits.train(fixed, width=24, steps_per_time=24)
    np.testing.assert_allclose(other.output, one.output, rtol=0, atol=1e-10)
    assert np.ptp(one.output.values) > 0.1


# --- a finished study ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rnnlimits.Results]:
    """TINY with twins, run from Python."""
    import threadpoolctl  # noqa: F401 (which sets a variable of OpenMP when it is imported)

    folder, before = tmp_path_factory.mktemp("library"), Path.cwd()
    os.chdir(folder)
    variables = dict(os.environ)
    try:
        results = rnnlimits.run_study(rnnlimits.Study(name="tiny", **FOLLOWED), "results", cores=1, backend="host")
        assert dict(os.environ) == variables
        assert {path.name for path in Path().iterdir()} == {"results", ".snakemake"}
        yield rnnlimits.open(results.folder.absolute())
    finally:
        os.chdir(before)


needs_run = [pytest.mark.workflow, pytest.mark.needs_mpi, pytest.mark.needs_compiler]


NOT_THERE: dict[str, tuple[Callable[[rnnlimits.Results], object], str]] = {
    "which width": (lambda r: r.ensemble(), "2 cells have these coordinates; say which (width: 16, 33"),
    "no such width": (lambda r: r.ensemble(width=17), "width is 17; there is: 16, 33"),
    "no such key": (lambda r: r.ensemble(widht=16), "widht is not a coordinate of a cell; did you mean width?"),
    "no such twin": (lambda r: r.twin(5), "steps_per_time is 5; the study has twins at: 16, 33"),
    "which twin": (lambda r: r.twin(), "steps_per_time is missing; give one (the study has twins at: 16, 33)"),
}


class TestFinished:
    pytestmark = needs_run

    def test_a_study_of_python_is_saved_for_the_command_line(self, finished: rnnlimits.Results) -> None:
        saved = finished.folder.parent / "tiny.yaml"
        assert rnnlimits.load(saved).id == finished.study.id == rnnlimits.Study(**FOLLOWED).id
        written = {path: path.stat().st_mtime_ns for path in finished.folder.glob("*.h5")}
        again = rnnlimits.run_study(finished.study, finished.folder.parent, cores=1, backend="host")
        assert {path: path.stat().st_mtime_ns for path in again.folder.glob("*.h5")} == written

    @pytest.mark.parametrize("width", [16, 33])
    def test_networks_are_those_of_the_stage(self, finished: rnnlimits.Results, width: int) -> None:
        ours = rnnlimits.train(finished.study, width=width, replicas=8, backend="host").drop_vars(
            ["history", "step", "x"]
        )
        with finished.ensemble(width=width) as theirs:
            assert set(theirs.variables) - set(ours.variables) == {"run_seconds"}
            for name in ("cell_id", "study_id"):
                assert theirs.attrs[name] == ours.attrs[name]
            for name, values in ours.variables.items():
                stored = theirs[name]
                assert (stored.dims, stored.dtype) == (values.dims, values.dtype), name
                np.testing.assert_array_equal(stored, values, err_msg=str(name))
                assert stored.attrs["units"] == values.attrs["units"]
                assert stored.attrs["long_name"] == values.attrs["long_name"], name

    def test_twins_are_those_of_the_stage(self, finished: rnnlimits.Results) -> None:
        ours = rnnlimits.twin(finished.study, steps_per_time=33, paths=4, backend="host")
        with finished.twin(33) as theirs:
            for name in ("output", "loss", "path", "time", "loss_time"):
                np.testing.assert_array_equal(theirs[name], ours[name])
                assert theirs[name].attrs["long_name"] == ours[name].attrs["long_name"]

    def test_the_limit_is_that_of_the_stage(self, finished: rnnlimits.Results) -> None:
        here, read = rnnlimits.limit(finished.study, backend="host"), finished.limit
        with xr.open_dataset(finished.folder / "limit.h5", engine="h5netcdf") as stored:
            for limit in (here, read):
                ours = limit.solve(stored.time)
                for name in ours.variables:
                    np.testing.assert_array_equal(ours[name], stored[name], err_msg=str(name))
                np.testing.assert_array_equal(limit.eigenvalues, stored.eigenvalue)
                np.testing.assert_array_equal(limit.loss(stored.fine_time), stored.loss)
                assert limit.loss_floor == float(stored.loss_floor)

    def test_rates_are_those_of_the_table(self, finished: rnnlimits.Results) -> None:
        table = pd.read_csv(finished.folder / "rates.csv", keep_default_na=False, dtype=str)
        assert list(finished.rates.columns) == [*table.columns, "law", "line_p"]
        for name in table.columns:
            ours = finished.rates[name]
            if ours.dtype.kind == "f":
                ours = ours.map(lambda value: "" if np.isnan(value) else f"{value:.6g}")
            assert list(ours.astype(str)) == list(table[name]), name
        assert len(table) > 10

    def test_points_are_those_behind_the_rates(self, finished: rnnlimits.Results) -> None:
        with h5py.File(finished.folder / "rates.h5") as file:
            at_end = file["in_time"][()][file["point_rate"][()]] == 0  # rates.csv has no other rows
            np.testing.assert_array_equal(finished.points["value"], file["point_variable"][at_end])
            np.testing.assert_array_equal(finished.points["estimate"], file["point_estimate"][at_end])
            np.testing.assert_array_equal(finished.points["rate"], file["point_rate"][at_end])
        quantities = finished.rates["quantity"].loc[finished.points["rate"]]
        assert list(quantities) == list(finished.points["quantity"])

    def test_draws_and_cells(self, finished: rnnlimits.Results) -> None:
        assert list(finished.cells["width"]) == [16, 33]
        with finished.draws as draws:
            assert draws.sizes["block"] == 2

    @pytest.mark.parametrize(("act", "says"), NOT_THERE.values(), ids=NOT_THERE.keys())
    def test_what_is_not_there_is_refused(
        self, finished: rnnlimits.Results, act: Callable[[rnnlimits.Results], object], says: str
    ) -> None:
        with pytest.raises(StudyError) as refused:
            act(finished)
        assert says in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_a_folder_without_its_study_file_is_read_from_its_results(
        self, finished: rnnlimits.Results, tmp_path: Path
    ) -> None:
        copy = shutil.copytree(finished.folder, tmp_path / "tiny")
        (copy / "study.yaml").unlink()
        assert rnnlimits.open(copy).study.id == finished.study.id

    @pytest.mark.parametrize("keep", ["study.yaml", "limit.h5"])
    def test_another_format_version_is_refused(self, finished: rnnlimits.Results, tmp_path: Path, keep: str) -> None:
        copy = tmp_path / "tiny"
        copy.mkdir()
        for name in {keep, "limit.h5"}:
            shutil.copy(finished.folder / name, copy / name)
        with h5py.File(copy / "limit.h5", "r+") as file:
            file.attrs["format_version"] = 99
        with pytest.raises(StudyError, match=r"limit\.h5: has format version 99, this software reads 1; "):
            rnnlimits.open(copy)

    def test_a_half_finished_study_says_what_is_missing(self, finished: rnnlimits.Results, tmp_path: Path) -> None:
        shutil.copy(finished.folder / "study.yaml", tmp_path / "study.yaml")
        results = rnnlimits.open(tmp_path)
        for act in (lambda: results.rates, lambda: results.limit, lambda: results.ensemble(width=16)):
            with pytest.raises(StudyError, match="is missing"):
                act()


def test_results_of_the_recurrent_ntk_open(tmp_path: Path) -> None:
    run("train", write_rntk(tmp_path), cwd=tmp_path)
    results = rnnlimits.open(tmp_path / "results" / "tiny-rntk")
    assert (
        results.study.id == rnnlimits.RntkStudy(**{**TINY_RNTK, "sequences": {"lengths": (3, 4, 2), "dimension": 2}}).id
    )
    with results.ensemble(kind="kernel", network="erf-L2", width=np.int64(16)) as cell:
        assert cell.sizes["replica"] == 40
    with pytest.raises(StudyError, match="experiment is rntk, which has no limit"):
        _ = results.limit


# --- the recurrent NTK -----------------------------------------------------------------------------------------


def test_the_recurrent_ntk_of_one_step() -> None:
    """One step, erf: arcsine of the inputs' covariance for the NNGP; the NTK adds the derivative's term."""
    network = rnnlimits.rntk.ElmanNetwork(layers=np.int64(1), activation="erf", sigma_w=1.0, sigma_u=np.float64(1.5))  # type: ignore[arg-type]
    x = np.random.default_rng(4).normal(size=(3, 1, 2))
    s = 1.5**2 / 2 * x[:, 0] @ x[:, 0].T
    spread = np.outer(1 + 2 * np.diag(s), 1 + 2 * np.diag(s))
    nngp = 2 / np.pi * np.arcsin(2 * s / np.sqrt(spread))
    slope = 4 / np.pi / np.sqrt(spread - 4 * s**2)
    ntk, own = rnnlimits.rntk.gram(list(x), network=network, kernel="both")
    np.testing.assert_allclose(own, nngp, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ntk if ntk[0, 0] > own[0, 0] else own, nngp + s * slope, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rnnlimits.rntk.diagonal(list(x), network=network), np.diag(ntk), rtol=1e-12)


def test_estimators_are_offered_and_refuse_in_one_line() -> None:
    pytest.importorskip("sklearn")
    x = np.random.default_rng(5).normal(size=(6, 4))
    kernel = rnnlimits.rntk.RecurrentNTK(activation="erf").fit_transform(x)
    network = rnnlimits.rntk.ElmanNetwork(activation="erf")
    np.testing.assert_allclose(kernel, rnnlimits.rntk.gram(x, network=network), rtol=1e-12)
    classifier = rnnlimits.rntk.RNTKClassifier(activation="erf").fit(x, [0, 1] * 3)
    assert classifier.predict(x).shape == (6,)
    with pytest.raises(StudyError, match="activation: 'sine' is not known"):
        rnnlimits.rntk.RecurrentNTK(activation="sine").fit_transform(x)
    for model in (rnnlimits.rntk.RNTKClassifier(), rnnlimits.rntk.RNTKRegressor(), rnnlimits.rntk.RNTKSVR()):
        with pytest.raises(StudyError, match="layout='channels_first'"):
            model.fit(np.ones((6, 2, 5)), [0, 1] * 3)


# --- refusals --------------------------------------------------------------------------------------------------

NAN = np.full((2, 5), np.nan)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    # studies
    "unknown section": (lambda: tiny(trainig={}), "study: trainig is not a key; did you mean training?"),
    "unknown key": (lambda: tiny(training={"widht": [8]}), "training.widht is not a key; did you mean width?"),
    "unknown chain": (lambda: rnnlimits.Study(chain={"kind": "coupled-tan"}), "did you mean coupled-tanh?"),
    "no chain": (lambda: rnnlimits.Study(training=TINY["training"]), "study: chain is missing"),
    "width 0 in a study": (lambda: tiny(training={"width": np.array([0])}), "training.width[0] is 0"),
    "beta in a study": (lambda: tiny(training={"beta": np.array([0.4])}), "training.beta[0] is 0.4; allowed"),
    "NaN in a study": (lambda: tiny(target={"z": np.nan}), "target.z is nan"),
    "replicas in a study": (lambda: tiny(training={"replicas": 7}), "multiples of training.replicas_per_block"),
    "unknown rntk key": (lambda: rnnlimits.RntkStudy(bais={"width": [8]}), "bais is not a key; did you mean bias?"),
    "no such file": (lambda: rnnlimits.load("nowhere.yaml"), "nowhere.yaml: cannot be read"),
    "no such name": (lambda: rnnlimits.load("dmeo"), "dmeo: is neither a file here nor a study that ships; those are"),
    "no study at all": (lambda: rnnlimits.limit(3), "study is 3; give a Study"),  # type: ignore[arg-type]
    "chain does not contract": (lambda: rnnlimits.limit(tiny(chain={"a": 1.5})), "does not contract"),
    "limit of the recurrent NTK": (lambda: rnnlimits.limit("rntk"), "experiment is rntk, which has no limit"),
    "folder cannot be made": (lambda: tiny().save("/dev/null/mine.yaml"), "/dev/null: cannot be written"),
    # limits
    "histories of the wrong dimension": (lambda: limit_of_tiny().output(1, np.ones((2, 5, 3))), "has shape (2, 5, 3)"),
    "histories of one axis": (lambda: limit_of_tiny().output(1, np.ones(5)), "histories: has shape (5,); give an"),
    "no histories": (lambda: limit_of_tiny().memory(np.ones((0, 5))), "histories: has shape (0, 5)"),
    "ragged histories": (lambda: limit_of_tiny().memory([[1.0], [1.0, 2.0]]), "has rows of different lengths"),
    "text histories": (lambda: limit_of_tiny().kernel([["a", "b"]]), "has rows of different lengths or values"),
    "complex histories": (lambda: limit_of_tiny().kernel(np.ones((2, 5)) * 1j), "values that are not real numbers"),
    "NaN in histories": (lambda: limit_of_tiny().solve(1, NAN), "histories[0, 0] is nan; allowed: finite numbers"),
    "infinite others": (lambda: limit_of_tiny().kernel(None, NAN * np.inf), "others[0, 0] is nan"),
    "negative time": (lambda: limit_of_tiny().output([0.0, -1.0]), "time is -1.0; allowed: 0 or above"),
    "endless time": (lambda: limit_of_tiny().output(1e20), "time is 1e+20; allowed: at most 1e+12, beyond which"),
    "time NaN": (lambda: limit_of_tiny().loss(np.nan), "time is nan; allowed: finite numbers"),
    "no time": (lambda: limit_of_tiny().loss([]), "time: has shape (0,); give one time, or a list of them"),
    "times of two axes": (lambda: limit_of_tiny().output(np.ones((2, 2))), "time: has shape (2, 2)"),
    "memory map": (lambda: limit_of_tiny().memory_map(np.ones(3), np.ones(2)), "memory: has shape (2,), which"),
    "unknown back end": (lambda: rnnlimits.limit(tiny(), backend="nunpy"), "backend is 'nunpy'; did you mean numpy?"),
    "no threads": (lambda: rnnlimits.limit(tiny(), cores=0), "cores is 0; allowed: a whole number from 1 to 2^30"),
    # trainings
    "width 0": (lambda: rnnlimits.train(tiny(), width=0), "width is 0; allowed: a whole number from 1 to 2^30"),
    "half a width": (lambda: rnnlimits.train(tiny(), width=16.5), "width is 16.5; allowed"),  # type: ignore[arg-type]
    "width true": (lambda: rnnlimits.train(tiny(), width=True), "width is true; allowed: a whole number"),
    "widths": (lambda: rnnlimits.train(tiny(), width=[16, 33]), "width is [16, 33]; allowed"),  # type: ignore[arg-type]
    "which width": (lambda: rnnlimits.train(tiny()), "width is missing; give one (the study has: 16, 33)"),
    "beta below 1/2": (lambda: rnnlimits.train(tiny(), width=16, beta=0.49), "beta is 0.49; allowed: from 1/2 to 1"),
    "beta NaN": (lambda: rnnlimits.train(tiny(), width=16, beta=np.nan), "beta is nan; allowed: from 1/2 to 1"),
    "beta text": (lambda: rnnlimits.train(tiny(), width=16, beta="0.7"), "beta is '0.7'; allowed"),  # type: ignore[arg-type]
    "beta and richness": (
        lambda: rnnlimits.train(tiny(), width=16, beta=0.75, richness=0.5),
        "richness is given together with beta; give one of the two",
    ),
    "richness 0": (lambda: rnnlimits.train(tiny(), width=16, richness=0), "richness is 0; allowed: above 0 and at"),
    "too poor": (
        lambda: rnnlimits.train(tiny(), width=16, richness=0.2),
        "richness is 0.2; allowed: at least N^-1/2 (beta = 1/2), which is 0.25 at the width 16",
    ),
    "which richness": (
        lambda: rnnlimits.train(tiny(training={"beta": None, "richness": [0.5, 1.0]}), width=16),
        "richness is missing; give one (the study has: 0.5, 1.0)",
    ),
    "replicas 0": (lambda: rnnlimits.train(tiny(), width=16, replicas=0), "replicas is 0; allowed: a whole number"),
    "steps 0": (lambda: rnnlimits.train(tiny(), width=16, steps_per_time=0), "steps_per_time is 0; allowed"),
    "too few steps": (lambda: rnnlimits.train(tiny(), width=16, steps_per_time=3), "fewer than the 4 bins of the loss"),
    "depth 0": (lambda: rnnlimits.train(tiny(), width=16, depth=0), "depth is 0; allowed"),
    "negative first": (lambda: rnnlimits.train(tiny(), width=16, first=-1), "first is -1; allowed: a whole number"),
    "train on NaN": (lambda: rnnlimits.train(tiny(), width=16, histories=NAN), "histories[0, 0] is nan"),
    "twin of no K": (lambda: rnnlimits.twin(tiny()), "steps_per_time is missing; give one (the study has: 16, 33)"),
    "twin of no paths": (lambda: rnnlimits.twin(tiny(), steps_per_time=16, paths=0), "paths is 0; allowed"),
    "paths of no steps": (lambda: rnnlimits.paths(tiny(), 0), "steps is 0; allowed: a whole number from 1 to 2^30"),
    "no paths": (lambda: rnnlimits.paths(tiny(), 5, replicas=0), "replicas is 0; allowed"),
    # results and runs
    "no cores": (lambda: rnnlimits.run_study(tiny(), cores=0), "cores is 0; allowed"),
    "run on no back end": (lambda: rnnlimits.run_study(tiny(), backend="gpu"), "backend is 'gpu'; allowed: auto, cuda"),
    # recurrent NTK
    "no sequences": (lambda: rnnlimits.rntk.gram([]), "x has no sequences; at least one is needed"),
    "NaN in a sequence": (lambda: rnnlimits.rntk.gram(NAN), "x: sequence 0 has nan at step 0"),
    "unknown activation": (lambda: rnnlimits.rntk.ElmanNetwork(activation="sine"), "activation: 'sine' is not known"),
    "layers 0": (lambda: rnnlimits.rntk.ElmanNetwork(layers=0), "layers: 0 is not allowed; a whole number from 1"),
    "unlike inputs": (lambda: rnnlimits.rntk.gram(np.ones((2, 3)), np.ones((2, 3, 2))), "x has 1 inputs at a step"),
    "no Gram matrix": (lambda: rnnlimits.rntk.require_psd(np.ones(3)), "matrix has shape (3,)"),
    "gradient of NaN": (lambda: rnnlimits.rntk.input_gradient(NAN[0]), "nan at step 0"),
}  # fmt: skip


def limit_of_tiny() -> rnnlimits.Limit:
    return rnnlimits.limit(tiny())


@pytest.mark.parametrize(("act", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_one_line(
    act: Callable[[], object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as refused:
        act()
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "file").touch()
    for name, says in {
        "demo": "demo: has no results; give results/STUDY of a study that has run",
        "demoo": f"demoo: is not a folder; did you mean {tmp_path / 'demo'}?",
        "elsewhere/deep": "deep: is not a folder; give results/STUDY",
        "file": "file: is empty (0 bytes); give another packed file, or a results folder",
    }.items():
        with pytest.raises(StudyError) as refused:
            rnnlimits.open(tmp_path / name)
        assert says in str(refused.value)


def test_a_damaged_study_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("chain: [")
    with pytest.raises(StudyError, match=r"study\.yaml: line 1"):
        rnnlimits.open(tmp_path)


# --- the notebook ----------------------------------------------------------------------------------------------

NOTEBOOK = ROOT / "docs" / "tutorial" / "library.ipynb"


def pictures(notebook: Any) -> int:
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return len([output for output in shown if "image/png" in output.get("data", {})])


def words(notebook: Any) -> list[str]:
    """What the cells printed, numbers aside: their last digits depend on the machine."""
    # One text for each cell: how a kernel cuts what it prints into pieces is a matter of time.
    cells = ([output.text for output in cell.get("outputs", []) if "text" in output] for cell in notebook.cells)
    printed = ["".join(texts) for texts in cells if texts]
    return [re.sub(r"-?\d+(\.\d*)?(e-?\d+)?", "#", text) for text in printed]


@pytest.mark.needs_compiler
def test_the_notebook_draws_networks_and_their_limit_in_ten_lines(tmp_path: Path) -> None:
    """All cells with what they assert, in an empty folder, where nothing is written; the picture is stored as well."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert pictures(notebook) == 1
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert len([line for line in first.source.splitlines() if line.strip()]) <= 10
    stored = words(notebook)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=ENVIRONMENT)
    assert words(notebook) == stored
    assert pictures(notebook) == 1
    assert list(tmp_path.iterdir()) == []


class TestPredictions:
    """`rich_twin` and `predict`: networks of finite width without training one."""

    def test_a_prediction_is_what_networks_do(self) -> None:
        """Mean and scatter of pairs on one path, within 4.5 standard errors: false alarms in 1e-5 of seeds."""
        study = rnnlimits.load("demo")
        paths = 2
        predicted = rnnlimits.predict(study, width=64, beta=0.9, paths=paths)
        networks = rnnlimits.train(study, width=64, beta=0.9, replicas=512, steps_per_time=64)
        half = 0.5 * (networks.output[::2, -1].values - networks.output[1::2, -1].values)
        assert predicted.output_std.shape == (4, 16)
        std = predicted.output_std[-1].values
        count = len(half)
        # The half-difference is most of the scatter; the even part, at most a third here, is on top of it.
        assert (half.std(0) < std * (1 + 4.5 / (2 * count) ** 0.5 + 0.05)).all()
        assert (half.std(0) > std * (0.9 - 4.5 / (2 * count) ** 0.5 - 0.05)).all()

    def test_a_richness_is_predicted_as_its_beta(self) -> None:
        study = tiny()
        one, other = (rnnlimits.predict(study, width=16, paths=2, **at) for at in ({}, {"richness": 0.5}))
        for name in one.data_vars:
            np.testing.assert_array_equal(one[name], other[name])

    def test_rich_twins_meet_twins_as_the_richness_vanishes(self) -> None:
        """The law of C is symmetric, so that halving the richness quarters the distance."""
        study = rnnlimits.load("demo")
        twin = rnnlimits.twin(study, steps_per_time=32, paths=2).output[:, -1].values
        far, near = (
            rnnlimits.rich_twin(study, richness=eps, steps_per_time=32, paths=2).output[:, -1].values - twin
            for eps in (1 / 32, 1 / 64)
        )
        assert np.abs(far).max() < 1e-3
        assert np.sqrt((far**2).mean() / (near**2).mean()) == pytest.approx(4.0, rel=0.01)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"richness": 0}, "richness is 0; allowed: above 0 and at most 1"),
            ({"richness": 1.5}, "richness is 1.5; allowed: above 0 and at most 1"),
            ({"richness": "low"}, "richness is 'low'"),
            ({"richness": 0.5, "steps_per_time": 0}, "steps_per_time is 0; allowed"),
        ],
    )
    def test_bad_arguments_are_refused_in_one_line(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(StudyError, match=says):
            rnnlimits.rich_twin("demo", **{"steps_per_time": 64, **arguments})

    def test_one_path_has_no_scatter(self) -> None:
        with pytest.raises(StudyError, match="paths is 1; allowed: a whole number from 2"):
            rnnlimits.predict("demo", width=64, beta=0.75, paths=1)
