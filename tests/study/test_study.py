"""The study file: what it means, what is refused and in which words, and that editors get the same rules."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from rnnlimits import study as studies
from rnnlimits.base.errors import StudyError
from rnnlimits.chains.coupled_tanh import CoupledTanh
from rnnlimits.chains.finite_state import FiniteState
from rnnlimits.chains.linear_gaussian import LinearGaussian
from rnnlimits.chains.recorded import Recorded
from rnnlimits.study.network import TwoPointC
from rnnlimits.study.schema import RENEW, SCHEMA, schema_text
from rnnlimits.study.text import parse

CONFIG = Path(__file__).resolve().parent.parent.parent / "config"
STUDIES = sorted(path for path in CONFIG.glob("*.yaml") if not path.stem.startswith("atlas"))

SMALL = """
name: small
chain: {kind: coupled-tanh}
target: {}
training: {beta: [0.6, 0.75], width: [64, 128], replicas: 64}
"""


def load(*edits: tuple[str, str]) -> studies.Study:
    text = SMALL
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return studies.loads(text, "small.yaml")


def line_of(text: str) -> str:
    with pytest.raises(StudyError) as caught:
        studies.loads(text, "small.yaml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("small.yaml: ")
    return line.removeprefix("small.yaml: ")


CHAIN, TARGET, REPLICAS = "{kind: coupled-tanh}", "target: {}", "replicas: 64"
NETWORK = "target: {}\nnetwork: "
RICH = "target: {}\nrich: "

# What is replaced in SMALL, by what, and the line that the user must read.
BAD = [
    # keys
    ("width:", "widht:", "training.widht is not a key; did you mean width?"),
    ("name: small", "name: small\nsede: 1", "sede is not a key; did you mean seed?"),
    (CHAIN, "{kind: coupled-tanh, q: 1}", "chain.q is not a key; allowed: kind, a, b, s, c, e, r, dimension"),
    (REPLICAS, "replicas: 64, ladders: [{widths: [64]}]", "training.ladders[0].widths is not a key; did you mean"),
    (TARGET, NETWORK + "{b: {slop: 1}}", "network.b.slop is not a key; did you mean slope?"),
    (TARGET, NETWORK + "{c: {kind: gaussian, probability: 0.1}}", "network.c.probability is not a key"),
    (TARGET, "target: {}\n1: 2", "1 is not a key; allowed: name, seed,"),
    ("width: [64, 128], ", "", "training.width is missing; it has no default"),
    ("name: small", "name: small\nname: big", "line 3, column 1: the key name is given twice; keep one"),
    # kinds
    ("coupled-tanh", "coupled-tan", "chain.kind is 'coupled-tan'; did you mean coupled-tanh?"),
    (CHAIN, "{a: 0.5}", "chain.kind is missing; allowed: linear-gaussian, coupled-tanh, finite-state, recorded"),
    (TARGET, NETWORK + "{w: {std: 2}}", "network.w.kind is missing; allowed: gaussian, uniform"),
    (TARGET, NETWORK + "{activation: relu}", "network.activation is 'relu'; allowed: tanh, erf or logistic"),
    ("name: small", "name: small\nprecision: float16", "precision is 'float16'; allowed: float32 or float64"),
    # types
    (CHAIN, "3", "chain is 3; allowed: keys and values, one of them kind"),
    (TARGET, "target: 3", "target is 3; allowed: keys and values (sin_x, x, z, constant)"),
    (TARGET, "target:", "target is missing; a coupled-tanh chain needs one"),
    (TARGET, NETWORK, "network is null; allowed: keys and values (activation, w, b, c)"),
    ("[64, 128]", "64", "training.width is 64; allowed: a list"),
    ("[64, 128]", "[]", "training.width is []; allowed: a list with at least one entry"),
    ("[64, 128]", "['64']", "training.width[0] is '64'; allowed: a whole number from 1 to 2^30"),
    ("[64, 128]", "[64, true]", "training.width[1] is true; allowed: a whole number from 1 to 2^30"),
    ("[64, 128]", "[64.5]", "training.width[0] is 64.5; allowed: a whole number from 1 to 2^30"),
    (REPLICAS, "replicas: 64, antithetic: 1", "training.antithetic is 1; allowed: true or false"),
    (REPLICAS, "replicas: 64, antithetic: no", "training.antithetic is 'no'; allowed: true or false"),
    (REPLICAS, "replicas: many", "training.replicas is 'many'; allowed: a whole number from 1 to 2^30, or a list"),
    (CHAIN, "{kind: coupled-tanh, a: [x]}", "chain.a is ['x']; allowed: a finite number or a matrix"),
    (REPLICAS, "replicas: 64, steps_per_time: [widht]", "training.steps_per_time[0] is 'widht'; allowed: a whole"),
    # ranges
    ("0.75", "0.49", "training.beta[1] is 0.49; allowed: from 1/2 to 1"),
    ("0.75", "1.01", "training.beta[1] is 1.01; allowed: from 1/2 to 1"),
    ("0.75", ".nan", "training.beta[1] is nan; allowed: from 1/2 to 1"),
    ("[64, 128]", "[0]", "training.width[0] is 0; allowed: a whole number from 1 to 2^30"),
    ("0.75", "0.6", "training.beta[1] is 0.6; allowed: each value once"),
    ("name: small", "name: small\nseed: -1", "seed is -1; allowed: a whole number from 0 to 4294967295"),
    ("name: small", "name: small\nseed: 4294967296", "seed is 4294967296; allowed: a whole number from 0"),
    (REPLICAS, "replicas: 64, alpha: 0", "training.alpha is 0; allowed: a finite number above 0"),
    (REPLICAS, "replicas: 64, alpha: .inf", "training.alpha is inf; allowed: a finite number above 0"),
    (REPLICAS, "replicas: 64, clip: 0", "training.clip is 0; allowed: a finite number above 0"),
    (REPLICAS, "replicas: 64, depth: [0]", "training.depth[0] is 0; allowed: a whole number from 1 to 2^30"),
    (TARGET, NETWORK + "{c: {kind: two-point, probability: 1}}", "network.c.probability is 1; allowed: strictly"),
    (TARGET, "target: {}\nlimit: {nodes: 1}", "limit.nodes is 1; allowed: a whole number from 2 to 2^30"),
    (TARGET, "target: {}\ndraws: {sample: 501}", "draws.sample is 501; allowed: at most draws.steps, 500"),
    # names
    ("name: small", "name: a/b", "name is 'a/b'; allowed: a letter or digit, then up to 63 letters, digits, dots"),
    ("name: small", "name: a b", "name is 'a b'; allowed: a letter or digit"),
    ("name: small", 'name: "a\'b"', 'name is "a\'b"; allowed: a letter or digit'),
    ("name: small", "name: 'a\"b'", "name is 'a\"b'; allowed: a letter or digit"),
    ("name: small", 'name: "a\\n"', "name is 'a\\n'; allowed: a letter or digit"),
    ("name: small", "name: ..", "name is '..'; allowed: a letter or digit"),
    ("name: small", "name: " + "a" * 65, "allowed: a letter or digit"),
    # one key against another
    (REPLICAS, "replicas: 61", "training.replicas has 61; allowed: even (antithetic pairs)"),
    (
        REPLICAS,
        "replicas_per_block: 16, replicas: 60",
        "training.replicas has 60; allowed: multiples of training.replicas_per_block, 16",
    ),
    (REPLICAS, "replicas: [64]", "training.replicas has 1 entries; allowed: a number, or 2 (one for each width)"),
    (REPLICAS, "replicas: 63, replicas_per_block: 7", "training.replicas_per_block is 7; allowed: even"),
    (
        REPLICAS,
        "replicas: [64, 64], ladders: [{width: [64]}]",
        "training.ladders[0].replicas has 2 entries; allowed: a number, or 1 (one for each width)",
    ),
    (
        REPLICAS,
        "replicas: 64, checkpoints: [0, 0.3, 2]",
        "training.steps_per_time has K = 64; allowed: a whole number of steps at checkpoint 0.3",
    ),
    (
        REPLICAS,
        "replicas: 64, ladders: [{steps_per_time: [33]}]",
        "training.ladders[0].steps_per_time has K = 33; allowed: a whole number of steps at checkpoint 0.5",
    ),
    (
        REPLICAS,
        "replicas: 64, steps_per_time: [8]",
        "training.steps_per_time has K = 8, which makes 16 steps in all; that is fewer than the 32 bins",
    ),
    (REPLICAS, "replicas: 64, checkpoints: [0, 1]", "training.checkpoints is [0.0, 1.0]; allowed: times that end"),
    (REPLICAS, "replicas: 64, checkpoints: [1, 0, 2]", "training.checkpoints is [1.0, 0.0, 2.0]; allowed: increas"),
    (TARGET, "target: {x: [1, 2]}", "target.x has 2 entries; allowed: a number or 1 entries (the components of X)"),
    (TARGET, "", "target is missing; a coupled-tanh chain needs one"),
    (CHAIN, "{kind: recorded, file: a.csv, columns: [a]}", "target is given together with a recorded series; leave it"),
    (CHAIN, "{kind: recorded, file: a.csv, columns: [a, a]}", "chain.columns[1] is 'a'; allowed: each column once"),
    (CHAIN, "{kind: coupled-tanh, a: [[1, 0]]}", "chain.a has 1 rows of 2 entries; allowed: 1 x 1"),
    (CHAIN, "{kind: coupled-tanh, s: [1, 1]}", "chain.s has 2 entries; allowed: a number or 1 entries"),
    (
        CHAIN,
        "{kind: linear-gaussian, a: 0.5, q: [[1, 0.2], [0.1, 1]]}",
        "chain.q is not symmetric: [1][0] is 0.1, [0][1] is 0.2; allowed: a covariance matrix",
    ),
    (
        CHAIN,
        "{kind: linear-gaussian, a: [[0.5]], q: 1, dimension: 2}",
        "chain.dimension is 2; allowed: at most 1, the rows of a or q",
    ),
    (
        CHAIN,
        "{kind: finite-state, transition: [[0.5, 0.4], [0.5, 0.5]], x: [0, 1]}",
        "chain.transition[0] is [0.5, 0.4]; allowed: probabilities that sum to 1",
    ),
    (
        CHAIN,
        "{kind: finite-state, transition: [[1.5, -0.5], [0.5, 0.5]], x: [0, 1]}",
        "chain.transition[0] is [1.5, -0.5]; allowed: probabilities that sum to 1",
    ),
    (CHAIN, "{kind: finite-state, transition: [[1]], x: [0, 1]}", "chain.x has 2 entries; allowed: 1, one for each"),
    (TARGET, NETWORK + "{b: {direction: [1, 0]}}", "network.b.direction has 2 entries; allowed: 1"),
    (TARGET, NETWORK + "{b: {direction: [0]}}", "network.b.direction is [0.0]; allowed: a vector other than 0"),
    (
        TARGET,
        NETWORK + "{w: {kind: gaussian, std: 2, covariance: [[1]]}}",
        "network.w.std is 2.0; give either std or covariance",
    ),
    (
        TARGET,
        NETWORK + "{w: {kind: uniform}}\nlimit: {features: gauss-hermite}",
        "limit.features is 'gauss-hermite'; allowed for a W that is not Gaussian: grid, quasi-random",
    ),
    # rich twins
    (TARGET, RICH + "{epsilon: [0.5, 0]}", "rich.epsilon[1] is 0; allowed: above 0 and at most 1"),
    (TARGET, RICH + "{epsilon: [1.5]}", "rich.epsilon[0] is 1.5; allowed: above 0 and at most 1"),
    (TARGET, RICH + "{epsilon: [.nan]}", "rich.epsilon[0] is nan; allowed: above 0 and at most 1"),
    (TARGET, RICH + "{epsilon: [0.5, 0.25, 0.5]}", "rich.epsilon[2] is 0.5; allowed: each value once"),
    (
        REPLICAS,
        "replicas: 64, replicas_per_block: 16}\nrich: {epsilon: [0.5], paths: 60",
        "rich.paths is 60; allowed: multiples of the paths of a block, 8",
    ),
    (
        TARGET,
        RICH + "{epsilon: [0.5], steps_per_time: 3}",
        "rich.steps_per_time has K = 3; allowed: a whole number of steps",
    ),
    (TARGET, RICH + "{follow: true}", "rich.follow is true; it needs twins on the same paths: set twin.follow: true"),
    (TARGET, RICH + "{tangents: -1}", "rich.tangents is -1; allowed: a whole number from 0 to 2^20"),
    (TARGET, RICH + "{c_nodes: 0}", "rich.c_nodes is 0; allowed: "),
    (TARGET, RICH + "{richness: [0.5]}", "rich.richness is not a key; allowed: follow, tangents, tangent_steps,"),
    # YAML
    ("[64, 128]", "[64, 128", "line 5, column"),
    ("name: small", "name: !!python/object/apply:os.system [ls]", "line 2, column 7: could not determine a construct"),
    ("name: small", "? [a]\n: 1", "line 2, column 3: found unhashable key"),
    ("name: small", "seed: 1" + "0" * 5000, "a number cannot be read: "),
]


@pytest.mark.parametrize(("old", "new", "line"), BAD)
def test_bad_study_gets_one_line(old: str, new: str, line: str) -> None:
    assert SMALL.count(old) == 1
    assert line in line_of(SMALL.replace(old, new))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty; a study has at least name, chain and training"),
        ("- 1", "the study is [1]; allowed: keys and values (name, seed,"),
        ("[" * 3000, "nested too deep"),
        ("\x00", "unacceptable character"),
        ("&a [*a]", "the study is"),
    ],
)
def test_bad_text_gets_one_line(text: str, line: str) -> None:
    assert line in line_of(text)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: None, "study.yaml: cannot be read: No such file or directory"),
        (lambda path: path.mkdir(), "study.yaml: cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"name: \xff"), "study.yaml: byte 6 is not UTF-8"),
    ],
)
def test_bad_file_gets_one_line(make, line: str, tmp_path: Path) -> None:
    make(tmp_path / "study.yaml")
    with pytest.raises(StudyError, match=line):
        studies.load(tmp_path / "study.yaml")


def test_the_lines_of_the_table_are_not_what_a_good_study_gets() -> None:
    assert load().training.width == (64, 128)


def test_a_study_without_rich_twins_has_the_identity_from_before_they_existed() -> None:
    """As software without the section gave it."""
    twins = "target: {}\ntwin: {follow: true}"
    before = (
        load((TARGET, twins)),
        load((TARGET, twins + "\nrich: {tangents: 3, directions: 5, c_nodes: 2, paths: 16}")),
    )
    assert {study.identity for study in before} == {"8be0540ac92a"}
    with_rich = [load((TARGET, twins + f"\nrich: {keys}")) for keys in ("{follow: true}", "{epsilon: [0.5]}")]
    assert len({study.identity for study in (*before, *with_rich)}) == 3


def test_defaults() -> None:
    study = load()
    assert (study.seed, study.precision, study.allow_noncontracting) == (20231108, "float32", False)
    assert study.chain.model_dump() == dict(kind="coupled-tanh", a=0.5, b=0.4, s=0.5, c=0.6, e=0.3, r=0.5, dimension=1)
    assert study.target is not None
    assert study.target.model_dump() == dict(sin_x=1.0, x=0.0, z=0.5, constant=0.0)
    assert study.network.b.model_dump() == dict(offset=0.2, slope=0.6, direction=None, noise=0.0)
    assert study.training.checkpoints == (0.0, 0.5, 1.0, 2.0)
    assert study.source == Path("small.yaml")


def test_checkpoints_follow_the_horizon() -> None:
    assert load((REPLICAS, "replicas: 64, horizon: 4")).training.checkpoints == (0.0, 1.0, 2.0, 4.0)


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        load().training.alpha = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.5e+1", -5.0),
        ("010", 10.0),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2023-11-08", "2023-11-08"),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
    ],
)
def test_yaml_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"[{text}]" if text else "- ", "x")
    assert found == [value]
    assert type(found[0]) is type(value)


def test_a_merged_mapping_may_be_overridden() -> None:
    base = "base: &base {a: 1, b: 2}\nhere: {<<: *base, b: 3}"
    assert parse(base, "x") == {"base": {"a": 1, "b": 2}, "here": {"a": 1, "b": 3}}


def test_whole_numbers_may_be_spelt_as_floats() -> None:
    assert load(("[64, 128]", "[64.0, 1e5]")).training.width == (64, 100_000)


def test_ladders_take_over_what_they_do_not_say() -> None:
    edit = "replicas: [64, 32], ladders: [{width: [256], steps_per_time: [32, 64], replicas: 16}]"
    main, ladder = load((REPLICAS, edit)).training.products()
    assert main.replicas == (64, 32)
    assert ladder.beta == main.beta == (0.6, 0.75)
    assert (ladder.width, ladder.steps_per_time, ladder.depth) == ((256,), (32, 64), (1,))
    assert ladder.replicas == (16,)


# --- numbers of the sections -------------------------------------------------------------------------------


def test_coupled_tanh_matrices() -> None:
    chain = CoupledTanh(kind="coupled-tanh", dimension=2, b=((1.0, 2.0), (3.0, 4.0)), s=(0.1, 0.2))
    m = chain.matrices()
    np.testing.assert_array_equal(m.a, [[0.5, 0], [0, 0.5]])
    np.testing.assert_array_equal(m.b, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(m.c, [[0.6, 0], [0, 0.6]])
    np.testing.assert_array_equal(m.e, [[0.3, 0], [0, 0.3]])
    np.testing.assert_array_equal(m.s, [0.1, 0.2])
    np.testing.assert_array_equal(m.r, [0.5, 0.5])


@pytest.mark.parametrize(
    ("a", "q", "dimension", "hidden"),
    [(0.5, 1.0, 3, 0), (0.5, ((1.0, 0.0), (0.0, 2.0)), 1, 1), (((0.1, 0.2), (0.0, 0.3)), 1.0, 2, 0)],
)
def test_linear_gaussian_sizes(a, q, dimension: int, hidden: int) -> None:
    chain = LinearGaussian(kind="linear-gaussian", a=a, q=q, dimension=dimension)
    size = dimension + hidden
    assert chain.hidden == hidden
    for given, matrix in zip((a, q), chain.gaussian(), strict=True):
        np.testing.assert_array_equal(matrix, given if isinstance(given, tuple) else given * np.eye(size))


def test_finite_state_arrays() -> None:
    third = 0.333333
    rows = ((third, third, third), (1.0, 0.0, 0.0), (0.0, 0.5, 0.5))
    chain = FiniteState(kind="finite-state", transition=rows, x=(1.0, 2.0, 3.0), z=((1.0, 2.0),) * 3)
    transition, x, z = chain.finite()
    np.testing.assert_allclose(transition[0], [1 / 3] * 3, rtol=1e-15)
    assert (x.shape, z.shape) == ((3, 1), (3, 2))
    assert (chain.dimension, chain.hidden) == (1, 2)
    bare = FiniteState(kind="finite-state", transition=rows, x=((1.0, 2.0),) * 3)
    assert (bare.dimension, bare.hidden, bare.finite().z.shape) == (2, 0, (3, 0))


def test_network_moments() -> None:
    network = load(
        (CHAIN, "{kind: coupled-tanh, dimension: 2}"),
        (TARGET, NETWORK + "{w: {kind: gaussian, mean: [1, 2], std: [2, 3]}, b: {direction: [3, 4]}}"),
    ).network
    np.testing.assert_array_equal(network.w.mean_vector(2), [1, 2])
    np.testing.assert_array_equal(network.w.covariance_matrix(2), [[4, 0], [0, 9]])
    np.testing.assert_allclose(network.b.unit(2), [0.6, 0.8], rtol=1e-15)


def test_direction_defaults_to_the_first_axis() -> None:
    np.testing.assert_array_equal(load().network.b.unit(3), [1, 0, 0])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_two_point_law_has_mean_0_and_its_std(p: float) -> None:
    high, low = TwoPointC(kind="two-point", std=2.0, probability=p).values()
    assert p * high + (1 - p) * low == pytest.approx(0, abs=1e-15)
    assert p * high**2 + (1 - p) * low**2 == pytest.approx(4)


@pytest.mark.parametrize(
    ("dimension", "w", "features"),
    [
        (1, "gaussian", "grid"),
        (2, "gaussian", "grid"),
        (3, "gaussian", "quasi-random"),
        (1, "uniform", "grid"),
    ],
)
def test_default_features(dimension: int, w: str, features: str) -> None:
    edits = (CHAIN, f"{{kind: coupled-tanh, dimension: {dimension}}}"), (TARGET, NETWORK + f"{{w: {{kind: {w}}}}}")
    assert load(*edits).features == features


def test_recorded_target_defaults_to_the_first_column() -> None:
    chain = Recorded(kind="recorded", file="a.csv", columns=("p", "q"))
    assert (chain.target, chain.dimension, chain.hidden) == ("p", 2, 0)
    assert Recorded(kind="recorded", file="a.csv", columns=("p",), target_column="q").target == "q"


# --- files and schema --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_study_survives_being_written_out(path: Path) -> None:
    study = studies.load_any(path)
    again = studies.loads_any(studies.to_yaml(study), path)
    assert again == study
    assert study.name == path.stem


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_study_tells_editors_its_schema(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[0] == "# yaml-language-server: $schema=schema.json"
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json.loads(SCHEMA.read_text()))


def test_all_three_studies_are_shipped() -> None:
    assert {path.stem for path in STUDIES} >= {"demo", "full", "recorded"}


def test_stored_schema_is_that_of_the_types() -> None:
    assert SCHEMA.read_text() == schema_text(), f"config/schema.json is out of date; renew it: {RENEW}"


def test_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(studies.json_schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width:", "widht:"),
        ("0.75", "0.4"),
        ("[64, 128]", "[0]"),
        ("coupled-tanh", "coupled-tan"),
        ("name: small", "name: a/b"),
        (REPLICAS, "replicas: 64, ladders: [{widths: [64]}]"),
        (CHAIN, "{kind: coupled-tanh, q: 1}"),
    ],
)
def test_schema_refuses_in_the_editor_what_loading_refuses(old: str, new: str) -> None:
    validator = jsonschema.Draft202012Validator(studies.json_schema())
    assert validator.is_valid(yaml.safe_load(SMALL))
    assert not validator.is_valid(yaml.safe_load(SMALL.replace(old, new)))


def test_every_key_is_described() -> None:
    schema = studies.json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = [(key, value) for section in sections for key, value in section["properties"].items()]
    assert [key for key, value in keys if key != "kind" and "description" not in value] == []
