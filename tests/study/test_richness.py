"""A richness in place of beta: cells, names, identities, what is refused, and the numbers that kernels are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnlimits.base.errors import StudyError
from rnnlimits.study import Study, load, loads, to_yaml
from rnnlimits.study.grid import cells, rich_twin, rich_twins, tangent_twin, tangent_twins
from rnnlimits.study.identity import cell_id, rich_id, study_id
from rnnlimits.training.plan import kernel_training

CONFIG = Path(__file__).parents[2] / "config"
TEXT = """
name: rich
chain: {{kind: coupled-tanh}}
target: {{sin_x: 1.0}}
twin: {{follow: true}}
rich: {{follow: true, epsilon: [0.25], steps_per_time: 64}}
training: {{{training}, replicas: 32, loss_bins: 8}}
"""
FIXED = "richness: [0.25, 1.0], width: [16, 64]"


def of(training: str) -> Study:
    return loads(TEXT.format(training=training), "rich.yaml")


def test_every_width_has_the_richness() -> None:
    names = [(cell.pack, cell.name, cell.beta) for cell in cells(of(FIXED))]
    assert names == [
        ("N00016-K00016", "eps0.25-depth1", 0.5),
        ("N00016-K00016", "eps1.0-depth1", 1.0),
        ("N00064-K00064", "eps0.25-depth1", pytest.approx(2 / 3)),
        ("N00064-K00064", "eps1.0-depth1", 1.0),
    ]


def test_a_ladder_may_have_the_other_axis() -> None:
    both = of("beta: [0.75], width: [16], ladders: [{richness: [0.5]}, {width: [64], steps_per_time: [16]}]")
    assert [f"{cell.pack}/{cell.name}" for cell in cells(both)] == [
        "N00016-K00016/beta0.75-depth1",
        "N00016-K00016/eps0.5-depth1",
        "N00064-K00016/beta0.75-depth1",
    ]
    other = of("richness: [0.5], width: [16], ladders: [{beta: [0.75]}]")
    assert {cell.name for cell in cells(other)} == {"beta0.75-depth1", "eps0.5-depth1"}


def test_widths_of_one_richness_and_k_share_their_rich_twins() -> None:
    study = of("richness: [0.25], width: [16, 32, 64], steps_per_time: [64]")
    (twin,) = rich_twins(study)  # that of the ladder in the richness too
    assert (twin.richness, twin.steps_per_time, twin.paths) == (0.25, 64, 64)
    assert [one.point for one in tangent_twins(study)] == [twin.point]


def test_a_rounded_richness_has_no_file_of_its_own() -> None:
    """32^-0.4 is 0.25 but for its last digit, and 1024^-0.2 too, on the other side: one file, and one twin in it."""
    for training in (
        "beta: [0.6], width: [32], ladders: [{richness: [0.25]}]",
        "beta: [0.6, 0.8], width: [32, 1024], steps_per_time: [64]",  # and the ladder of rich.epsilon
    ):
        study = of(training)
        for twins, of_cell in ((rich_twins(study), rich_twin), (tangent_twins(study), tangent_twin)):
            assert len({twin.name for twin in twins}) == len(twins)
            assert {of_cell(study, cell).point for cell in cells(study)} <= {twin.point for twin in twins}
    assert 0.25 in {twin.richness for twin in rich_twins(study)}


def test_the_kernels_are_given_the_same_numbers() -> None:
    """Those of the same network by its beta: exactly where eps = 16^(-1/4) is, else up to rounding."""
    one, other = of("beta: [0.75], width: [16]"), of("richness: [0.5], width: [16]")
    exact, same = (kernel_training(study, cells(study)[0]) for study in (one, other))
    assert (exact.output_scale, exact.rate) == (same.output_scale, same.rate) == (0.125, 0.25)
    study = of("richness: [0.3], width: [24], clip: 0.5")
    (cell,) = cells(study)
    rich = kernel_training(study, cell)
    by_beta = of(f"beta: [{cell.beta!r}], width: [24], clip: 0.5")
    poor = kernel_training(by_beta, cells(by_beta)[0])
    assert rich.output_scale == pytest.approx(poor.output_scale, rel=1e-15)
    assert rich.rate == pytest.approx(poor.rate, rel=1e-14)
    assert rich.clip_level == poor.clip_level


def test_identities_tell_them_apart() -> None:
    one, other = of("beta: [0.75], width: [16]"), of("richness: [0.5], width: [16]")
    assert cell_id(one, cells(one)[0]) != cell_id(other, cells(other)[0])
    assert study_id(one) != study_id(other)
    assert rich_id(one, rich_twins(one)[0]) == rich_id(other, rich_twins(other)[0])  # of eps = 0.5 both


@pytest.mark.parametrize(
    ("name", "identity", "first", "rich"),
    [
        ("demo", "af6f55fdcbe8", "7e0957df4d0e", "0ab2baaddaa0"),
        ("recorded", "8ae9afc769cf", "066b722445fb", "10829eacfadf"),
        ("full", "72d8e456f247", "9ef9960496b6", None),
    ],
)
def test_studies_of_beta_keep_their_identities(name: str, identity: str, first: str, rich: str | None) -> None:
    """They name the folders of shards: results from before the key existed stay valid."""
    study = load(CONFIG / f"{name}.yaml")
    assert (study.identity, cell_id(study, cells(study)[0])) == (identity, first)
    assert [rich_id(study, twin) for twin in rich_twins(study)[:1]] == ([rich] if rich else [])


def test_a_study_written_out_is_the_same_study() -> None:
    study = of(FIXED)
    assert loads(to_yaml(study), "rich.yaml").identity == study.identity


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ("width: [16]", "training.beta is missing; give either beta or richness"),
        ("beta: [0.7], richness: [0.5], width: [16]", "training.richness is given together with beta; allowed: one of"),
        ("richness: [0.0], width: [16]", r"training.richness\[0\] is 0.0; allowed: above 0 and at most 1"),
        ("richness: [0.5, 1.1], width: [16]", r"training.richness\[1\] is 1.1; allowed: above 0 and at most 1"),
        ("richness: [.nan], width: [16]", r"training.richness\[0\] is nan; allowed: above 0 and at most 1"),
        ("richness: [], width: [16]", r"training.richness is \[\]; allowed: a list with at least one entry"),
        ("richness: [0.5, 0.5], width: [16]", r"training.richness\[1\] is 0.5; allowed: each value once"),
        (
            "richness: [0.5, 0.2], width: [64, 16]",
            r"training.richness\[1\] is 0.2; allowed: at least N\^-1/2 \(beta = 1/2\), which is 0.25 at the width 16$",
        ),
        (
            "richness: [0.25], width: [64], ladders: [{width: [8]}]",
            r"training.ladders\[0\].richness\[0\] is 0.25; allowed: at least .* 0.353553 at the width 8$",
        ),
        (
            "beta: [0.7], width: [64], ladders: [{beta: [0.8], richness: [0.5]}]",
            r"training.ladders\[0\].richness is given together with beta; allowed: one of the two",
        ),
    ],
)
def test_refusals(training: str, says: str) -> None:
    with pytest.raises(StudyError, match=f"^rich.yaml: {says}") as refused:
        of(training)
    assert "\n" not in str(refused.value)


def test_the_smallest_richness_of_a_width_may_be_rounded() -> None:
    assert cells(of("richness: [0.353553], width: [8]"))[0].beta == 0.5
