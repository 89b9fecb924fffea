"""What holds for every kind of chain in the registry. A new kind needs a row of CASES here, and a test of its own.

A row has a study's `chain` that contracts, and one that does not with words of its refusal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import architecture
import chain_table
import numpy as np
import pytest
import yaml
from chain_studies import REPLICAS, SEED, study_of
from emulation import emulated
from numpy.typing import NDArray

from rnnlimits import chains, kernels
from rnnlimits import study as studies
from rnnlimits.base.arrays import stationary_states
from rnnlimits.base.errors import StudyError
from rnnlimits.base.streams import Stream
from rnnlimits.chains import paths
from rnnlimits.chains.base import KINDS, Stretch
from rnnlimits.kernels.interface import Array, Backend
from rnnlimits.study import Study
from rnnlimits.study.schema import SCHEMA
from rnnlimits.theory.stationary import stationary_covariance
from rnnlimits.training import plan
from rnnlimits.training.checks import check

Z = 5.0  # standard errors; a false alarm in 1 of 1.7 million comparisons
MANY = 4000  # replicas


class Case(NamedTuple):
    """A chain that contracts, one that does not (none for a recorded series), and words of its refusal."""

    chain: str
    growing: str = ""
    words: str = ""


CASES = {
    "linear-gaussian": Case(
        "{kind: linear-gaussian, a: [[0.5, 0.3], [-0.2, 0.6]], q: [[0.5, 0.1], [0.1, 0.3]]}",
        "{kind: linear-gaussian, a: 1.0, q: 1}",
        "chain.a: the chain does not contract: the chain's spectral radius is 1, allowed: below 1; use a smaller a",
    ),
    "coupled-tanh": Case(
        "{kind: coupled-tanh, dimension: 2}",
        "{kind: coupled-tanh, a: 1.5}",
        "chain: the chain does not contract: its paths grow without bound; use smaller a, b, c or e",
    ),
    "finite-state": Case(
        "{kind: finite-state, transition: [[0.6, 0.4], [0.3, 0.7]], x: [-1, 1.2], z: [0.5, -0.2]}",
        "{kind: finite-state, transition: [[0, 1], [1, 0]], x: [0, 1]}",
        "chain.transition: the chain does not mix",
    ),
    "recorded": Case("{kind: recorded, file: series.csv, columns: [level]}"),
    "python": Case("{kind: python, file: step.py, dimension: 2, hidden: 1}"),
}
EACH = pytest.mark.parametrize("kind", CASES)
ON_EACH = pytest.mark.parametrize("name", [pytest.param("host", marks=pytest.mark.needs_compiler), "numpy"])


def of(kind: str, folder: Path, more: str = "") -> Study:
    return study_of(CASES[kind].chain, folder, more)


def walk(
    study: Study,
    be: Backend,
    replicas: NDArray[np.uint32] = REPLICAS,
    start: Any = None,
    stream: Stream = Stream.CHAIN_NOISE,
) -> paths.Path:
    return paths.of(study).paths(be, SEED, stream, replicas, start=start)


def numbers(first: int, count: int) -> NDArray[np.uint32]:
    return np.arange(first, first + count, dtype=np.uint32)


def same(ours: Stretch, theirs: Stretch) -> None:
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_kind_is_tested() -> None:
    assert sorted(CASES) == sorted(chains.kinds())


def test_nothing_outside_the_package_asks_for_a_class() -> None:
    """Theory, checks and stages ask a chain for what it knows, so that a further kind changes none of them."""
    of_kinds = {section.__module__ for section in KINDS.values()}
    importers = {
        module
        for module, path in architecture.modules().items()
        if not module.startswith("rnnlimits.chains")
        and of_kinds & architecture.imports(path.read_text(encoding="utf-8"), architecture.modules())
    }
    assert importers == set()


# --- paths -----------------------------------------------------------------------------------------------------


@EACH
def test_shapes_are_those_of_the_protocol(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    process = paths.of(study)
    assert (process.dimension, process.hidden) == (study.dimension, study.hidden)
    x, z, y = walk(study, kernels.backend("numpy")).take(7)
    assert (x.shape, z.shape, y.shape) == ((3, 7, study.dimension), (3, 7, study.hidden), (3, 7))
    assert {a.dtype for a in (x, z, y)} == {np.dtype(np.float64)}


@ON_EACH
@EACH
def test_a_path_does_not_depend_on_how_it_is_cut(kind: str, name: str, tmp_path: Path) -> None:
    """3 and 4 steps are 7 steps; 23 rows and 30 steps take the recorded series past its end."""
    study, be = of(kind, tmp_path), kernels.backend(name)
    for lengths in ((3, 4), (1, 1, 5), (20, 10)):
        whole, cut = walk(study, be), walk(study, be)
        parts = [cut.take(length) for length in lengths]
        for i, expected in enumerate(whole.take(sum(lengths))):
            np.testing.assert_array_equal(np.concatenate([part[i] for part in parts], axis=1), expected)
        np.testing.assert_array_equal(cut.state, whole.state)


@EACH
def test_a_path_continues_and_replicas_differ(kind: str, tmp_path: Path) -> None:
    x, _, _ = walk(of(kind, tmp_path), kernels.backend("numpy")).take(40)
    assert not np.array_equal(x[:, :20], x[:, 20:])
    assert not np.array_equal(x[0], x[1])


@ON_EACH
@EACH
def test_a_path_resumes_from_its_position_bit_for_bit(kind: str, name: str, tmp_path: Path) -> None:
    study, be = of(kind, tmp_path), kernels.backend(name)
    whole = paths.training_paths(study, be, REPLICAS)
    whole.take(9)
    at = paths.position(be, whole)
    later = whole.take(11)
    same(paths.training_paths(study, be, REPLICAS, at).take(11), later)


@pytest.mark.needs_compiler
@EACH
def test_a_path_does_not_depend_on_the_block_that_it_is_in(kind: str, tmp_path: Path) -> None:
    study, be = of(kind, tmp_path), kernels.backend("host")
    whole = walk(study, be, numbers(0, 70)).take(12)
    for first, count in ((0, 16), (16, 16), (32, 38), (69, 1), (5, 3)):
        part = walk(study, be, numbers(first, count)).take(12)
        same(part, (whole[0][first : first + count], whole[1][first : first + count], whole[2][first : first + count]))


@pytest.mark.needs_compiler
@EACH
def test_host_and_numpy_agree(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    ours, defined = (walk(study, kernels.backend(name)).take(50) for name in ("host", "numpy"))
    for one, other in zip(ours, defined, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.needs_compiler
@EACH
def test_a_device_gets_arrays_of_its_own(kind: str, tmp_path: Path) -> None:
    """The emulated GPU refuses to mix its arrays with NumPy's."""
    study, device = of(kind, tmp_path), emulated()
    path = paths.training_paths(study, device, REPLICAS)
    path.take(3)
    at = paths.position(device, path)
    found = path.take(4)
    again = paths.training_paths(study, device, REPLICAS, at).take(4)
    for one, other, expected in zip(found, again, walk_on_host(study, 3, 4), strict=True):
        assert type(one) is type(device.array(np.zeros(1)))
        np.testing.assert_array_equal(device.numpy(one), device.numpy(other))
        np.testing.assert_allclose(device.numpy(one), expected, rtol=0, atol=1e-12)


def walk_on_host(study: Study, skipped: int, steps: int) -> Stretch:
    path = walk(study, kernels.backend("host"))
    path.take(skipped)
    return path.take(steps)


@EACH
def test_states_show_what_the_path_showed(kind: str, tmp_path: Path) -> None:
    """After a step, of a random chain; before it, of a recorded series, whose state is the row to come."""
    study, be = of(kind, tmp_path), kernels.backend("numpy")
    path = walk(study, be)
    before = np.array(path.state)
    x, z, y = path.take(1)
    state = path.state if study.chain.noisy else before
    for found, expected in zip(paths.of(study).shown(state), (x[:, 0], z[:, 0], y[:, 0]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


# --- the stationary law ----------------------------------------------------------------------------------------


def moments(x: Array, z: Array, y: Array) -> Array:
    """Values (R, ...) whose means are first and second moments of (x, z, y)."""
    values = np.concatenate([x, z, y[:, None]], axis=1)
    return np.concatenate([values, values**2, values[:, :1] * values[:, 1:]], axis=1)


@EACH
def test_paths_are_stationary_from_the_first_step(kind: str, tmp_path: Path) -> None:
    be = kernels.processor()
    x, z, y = walk(of(kind, tmp_path), be, numbers(0, MANY)).take(40)
    early, late = (moments(x[:, k], z[:, k], y[:, k]) for k in (0, 39))
    gap = early - late
    assert (np.abs(gap.mean(0)) <= Z * gap.std(0) / np.sqrt(MANY) + 1e-12).all()


@EACH
def test_paths_have_the_law_that_the_kind_claims(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    x, z, y = (a[:, 0] for a in walk(study, kernels.processor(), numbers(0, MANY)).take(1))
    h, chain = np.concatenate([x, z], axis=1), study.chain
    claims: list[tuple[Array, Array]] = []
    if (states := chain.finite()) is not None:
        claims.append((h, stationary_states(states.transition) @ np.concatenate([states.x, states.z], axis=1)))
    if (linear := chain.gaussian()) is not None:
        claims.append((h, np.zeros(h.shape[1])))
        products = h[:, :, None] * h[:, None, :]
        claims.append((products.reshape(MANY, -1), stationary_covariance(*linear).reshape(-1)))
    if (series := chain.series(study.source)) is not None:
        claims.append((np.column_stack([x, y]), np.append(series.x.mean(0), series.y.mean())))
    for values, expected in claims:
        assert (np.abs(values.mean(0) - expected) <= Z * values.std(0) / np.sqrt(MANY)).all()
    assert chain.exact == (chain.finite() is not None or chain.series(study.source) is not None)


@EACH
def test_steps_are_random_if_the_kind_says_so(kind: str, tmp_path: Path) -> None:
    study, be = of(kind, tmp_path), kernels.backend("numpy")
    start = np.array(walk(study, be).state)
    one, other = (walk(study, be, start=start, stream=s).take(30)[0] for s in (Stream.CHAIN_NOISE, Stream.DRAW_NOISE))
    assert np.array_equal(one, other) != study.chain.noisy


@EACH
def test_sampled_inputs_look_like_the_chain(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    sample = study.chain.sample_inputs(study.source)
    np.testing.assert_array_equal(sample, study.chain.sample_inputs(study.source))
    x = walk(study, kernels.processor(), numbers(0, MANY)).take(1)[0][:, 0]
    assert sample.shape[1] == study.dimension
    spread = x.std(0)
    assert (sample.min(0) >= x.min(0) - spread).all()
    assert (sample.max(0) <= x.max(0) + spread).all()
    if len(sample) > 100:
        assert (np.abs(sample.mean(0) - x.mean(0)) <= Z * spread * np.sqrt(1 / len(sample) + 1 / MANY)).all()


# --- checks and the study file ---------------------------------------------------------------------------------

NETWORK = "network: {b: {offset: 0.2, slope: 0.5}}\nprobes: {length: 20}\n"


@EACH
def test_check_accepts_a_chain_that_contracts(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path, NETWORK)
    verdict = study.chain.contraction(study.source)
    assert verdict.holds
    assert check(study)[0] == verdict.words


@pytest.mark.parametrize("kind", [kind for kind, case in CASES.items() if case.growing])
def test_check_refuses_a_chain_that_does_not(kind: str, tmp_path: Path) -> None:
    study = study_of(CASES[kind].growing, tmp_path, NETWORK)
    verdict = study.chain.contraction(study.source)
    assert not verdict.holds
    with pytest.raises(StudyError) as refused:
        check(study)
    assert str(refused.value).startswith(f"{study.source}: {CASES[kind].words}")
    assert "\n" not in str(refused.value)
    allowed = study_of(CASES[kind].growing, tmp_path, f"{NETWORK}allow_noncontracting: true\n")
    assert check(allowed)[0] == verdict.words


@EACH
def test_a_target_is_the_studys_or_the_chains_own(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    values = yaml.safe_load(studies.to_yaml(study))
    if study.chain.own_target:
        values["target"] = {}
    else:
        del values["target"]
    with pytest.raises(StudyError, match="target is"):
        studies.loads(yaml.safe_dump(values), study.source)


@EACH
def test_an_identity_is_json_and_stays_when_the_study_moves(kind: str, tmp_path: Path) -> None:
    study = of(kind, tmp_path)
    json.dumps(study.chain.identity(study.source))
    (tmp_path / "elsewhere").mkdir()
    moved = studies.loads(studies.to_yaml(study, tmp_path / "elsewhere"), tmp_path / "elsewhere" / "study.yaml")
    assert plan.study_id(moved) == plan.study_id(study)
    assert studies.loads(studies.to_yaml(study), study.source) == study


@EACH
def test_the_schema_describes_every_key(kind: str) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    place = schema["$defs"]["Study"]["properties"]["chain"]["discriminator"]["mapping"][kind]
    keys = schema["$defs"][place.rpartition("/")[2]]["properties"]
    assert keys.pop("kind")["const"] == kind
    assert keys
    assert all(key["description"] for key in keys.values())


@pytest.mark.parametrize(
    ("chain", "words"), [("{a: 1}", "chain.kind is missing"), ("{kind: no}", "chain.kind is 'no'")]
)
def test_messages_list_every_kind(chain: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as refused:
        study_of(chain, tmp_path)
    assert str(refused.value).endswith(f"{words}; allowed: {', '.join(chains.kinds())}")


def test_the_table_of_the_documentation_is_that_of_the_registry() -> None:
    page = chain_table.PAGE.read_text(encoding="utf-8")
    assert page == chain_table.renewed(page), f"run {chain_table.RENEW}"
    assert all(section.equation and f"| `{kind}` |" in page for kind, section in KINDS.items())


# --- kinds from elsewhere, and steps in NumPy --------------------------------------------------------------------

MIXED = np.array([[0.4, -0.3, 0.2], [0.1, 0.5, -0.2], [0.2, 0.1, 0.3]])


class Turning(chains.OwnStep):
    """H' = MIXED tanh(H) + s xi + shift: transcendental functions and a product, whose bits could depend on shapes."""

    kind: Literal["turning"]
    s: float = 0.5
    shift: float = 0.1

    @property
    def dimension(self) -> int:
        return 2

    @property
    def hidden(self) -> int:
        return 1

    def lipschitz(self) -> float:
        return float(np.linalg.norm(MIXED, 2))

    def step(self, h: Array, xi: Array) -> Array:
        return np.tanh(h) @ MIXED.T + self.s * xi + self.shift


@pytest.fixture
def turning(tmp_path: Path) -> Iterator[Study]:
    """A study of a kind that is registered for one test."""
    before = dict(KINDS)
    chains.register(Turning)
    yield study_of("{kind: turning, s: 0.4}", tmp_path, NETWORK)
    KINDS.clear()
    KINDS.update(before)
    Study.model_rebuild(force=True)


def test_a_kind_from_elsewhere_is_one_of_the_registry(turning: Study, tmp_path: Path) -> None:
    assert isinstance(turning.chain, Turning)
    assert turning.chain.s == 0.4
    assert "multiplies the distance" in check(turning)[0]
    assert chains.kinds()[-1] == "turning"
    assert "turning" in studies.json_schema()["$defs"]["Study"]["properties"]["chain"]["discriminator"]["mapping"]
    with pytest.raises(StudyError, match=r"chain\.kind is 'turnin'; did you mean turning\?"):
        study_of("{kind: turnin}", tmp_path)
    with pytest.raises(StudyError, match=r"chain\.t is not a key"):
        study_of("{kind: turning, t: 1}", tmp_path)


@pytest.mark.usefixtures("turning")
def test_a_kind_is_registered_once() -> None:
    chains.register(Turning)

    class Other(Turning):
        """Another class of the same name of kind."""

    with pytest.raises(ValueError, match="kind 'turning' is that of"):
        chains.register(Other)


def test_a_kind_without_a_name_is_refused() -> None:
    class Nameless(chains.OwnStep):
        """Says no kind."""

    with pytest.raises(ValueError, match="Nameless: kind must be declared"):
        chains.register(Nameless)


def test_a_step_in_numpy_follows_its_equation(turning: Study) -> None:
    """Noise number k is that of step k, on every back end, with the burn-in before."""
    be = kernels.backend("numpy")
    path = walk(turning, be)
    h, first = np.array(path.state), path.step
    x, z, _ = path.take(5)
    for k in range(5):
        h = np.tanh(h) @ MIXED.T + 0.4 * be.normals(SEED, Stream.CHAIN_NOISE, REPLICAS, 3, step=first + k) + 0.1
        np.testing.assert_allclose(np.concatenate([x, z], axis=-1)[:, k], h, rtol=0, atol=1e-14)


@ON_EACH
def test_a_step_in_numpy_does_not_depend_on_its_block(name: str, turning: Study) -> None:
    """Bit for bit, for replicas in any order, alone, doubled, and cut anywhere."""
    be = kernels.backend(name)
    whole = walk(turning, be, numbers(0, 70)).take(8)
    for part in ([69], [5, 3, 68], [1, 33, 65, 1], list(range(7, 50))):
        same(walk(turning, be, np.array(part, dtype=np.uint32)).take(8), tuple(a[part] for a in whole))  # type: ignore[arg-type]


@pytest.mark.needs_compiler
def test_a_step_in_numpy_is_the_same_on_a_device(turning: Study) -> None:
    """Computed on the processor from the same noise, then handed over; it resumes there as well."""
    device = emulated()
    path = paths.training_paths(turning, device, REPLICAS)
    path.take(3)
    at = paths.position(device, path)
    expected = walk_on_host(turning, 3, 4)
    for found in (path, paths.training_paths(turning, device, REPLICAS, at)):
        same(tuple(device.numpy(a) for a in found.take(4)), expected)  # type: ignore[arg-type]


def test_a_step_of_another_shape_is_refused(turning: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turning, "step", lambda self, h, xi: h[:, :1])
    with pytest.raises(StudyError, match=r"chain\.kind: the step of turning returns shape \(32, 1\)"):
        walk(turning, kernels.backend("numpy"))


def test_a_step_in_numpy_may_not_contract(turning: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turning, "lipschitz", lambda self: math.inf)
    with pytest.raises(StudyError, match="the same noise by at most inf, allowed: below 1"):
        check(turning)
