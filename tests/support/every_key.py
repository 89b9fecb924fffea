"""Every key of a study file, with another value, and by hand what has to be made again for it.

`python tests/support/every_key.py` prints the table: what would run, by the files, after a change of each key.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import stand_ins
import yaml
from pydantic import BaseModel
from runs import TINY, TINY_RNTK

from rnnlimits import experiments, study
from rnnlimits.chains.base import KINDS as CHAINS
from rnnlimits.plan import due
from rnnlimits.plan.parts import Experiment
from rnnlimits.study.model import EXPERIMENTS

Values = dict[str, Any]

SERIES = "level,other\n" + "".join(f"{k % 7 - 3},{k % 5}\n" for k in range(40))
BASES: dict[str, Values] = {
    "training": {
        **copy.deepcopy(TINY),
        "twin": {"follow": True, "steps_per_time": [64], "paths": 4},
        "rich": {"follow": True, "epsilon": [0.5], "steps_per_time": 64, "paths": 4, "tangents": 4},
        "network": {"w": {"kind": "gaussian"}, "b": {"offset": 0.2}, "c": {"kind": "uniform"}},
    },
    "rntk": copy.deepcopy(TINY_RNTK),
}
BASES["training"]["training"]["width"] = [16, 32]
BASES["training"]["training"]["ladders"] = [{"width": [16], "steps_per_time": [40]}]

SHOWN = {"study", "report"}
RATES = {"rates", "figures", *SHOWN}
LIMIT = {"limit", "poisson", *RATES}
DRAWS = {"draw", *LIMIT}
FINITE = {"rich", "tangents"}
NODES = {"twin", *FINITE, *DRAWS}
ALL = {"train", *NODES}
TRAIN = {"train", *RATES}
MOVED = {*FINITE, *TRAIN}  # what changes a rich twin too
CLOCK = {"twin", *FINITE, "train", *RATES}
SOME = {"some train", *RATES}
TWIN = {"some twin", "poisson", *RATES}
GRID = {"some train", "some twin", "poisson", *RATES}

# By key: the changes, as nested mappings of which lists replace lists, and what is made again.
Change = tuple[Values, set[str]]
W, C = {"kind": "uniform"}, {"kind": "two-point"}
TRAINING: dict[str, Change] = {
    "name": ({"name": "other"}, RATES),
    "seed": ({"seed": 8}, ALL),
    "precision": ({"precision": "float64"}, TRAIN),
    "allow_noncontracting": ({"allow_noncontracting": True}, SHOWN),
    "target.sin_x": ({"target": {"sin_x": 0.9}}, ALL),
    "target.x": ({"target": {"x": 0.1}}, ALL),
    "target.z": ({"target": {"z": 0.4}}, ALL),
    "target.constant": ({"target": {"constant": 0.1}}, ALL),
    "network.activation": ({"network": {"activation": "erf"}}, ALL),
    "network.w.kind": ({"network": {"w": W}}, ALL),
    "network.w.mean": ({"network": {"w": {"mean": 0.1}}}, ALL),
    "network.w.std": ({"network": {"w": {"std": 0.9}}}, ALL),
    "network.w.covariance": ({"network": {"w": {"covariance": [[0.9]]}}}, ALL),
    "network.b.offset": ({"network": {"b": {"offset": 0.3}}}, ALL),
    "network.b.slope": ({"network": {"b": {"slope": 0.5}}}, ALL),
    "network.b.direction": ({"network": {"b": {"direction": [2.0]}}}, ALL),
    "network.b.noise": ({"network": {"b": {"noise": 0.1}}}, ALL),
    "network.c.kind": ({"network": {"c": {"kind": "gaussian"}}}, ALL),
    "network.c.std": ({"network": {"c": {"std": 0.9}}}, ALL),
    "network.c.probability": ({"network": {"c": {**C, "probability": 0.2}}}, ALL),
    "training.beta": ({"training": {"beta": [0.8]}}, MOVED),
    "training.richness": ({"training": {"beta": None, "richness": [0.6]}}, MOVED),
    "training.width": ({"training": {"width": [16, 48]}}, {*FINITE, *GRID}),
    "training.steps_per_time": ({"training": {"steps_per_time": [24]}}, {*FINITE, *GRID}),
    "training.depth": ({"training": {"depth": [2]}}, MOVED),
    "training.replicas": ({"training": {"replicas": 12}}, {"train", "rich", *TWIN}),
    "training.ladders.beta": (
        {"training": {"ladders": [{"width": [16], "steps_per_time": [40], "beta": [0.8]}]}},
        {*FINITE, *SOME},
    ),
    "training.ladders.richness": (
        {"training": {"ladders": [{"width": [16], "steps_per_time": [40], "richness": [0.6]}]}},
        {*FINITE, *SOME},
    ),
    "training.ladders.width": ({"training": {"ladders": [{"width": [48], "steps_per_time": [40]}]}}, {*FINITE, *SOME}),
    "training.ladders.steps_per_time": (
        {"training": {"ladders": [{"width": [16], "steps_per_time": [56]}]}},
        {*FINITE, *GRID},
    ),
    "training.ladders.depth": (
        {"training": {"ladders": [{"width": [16], "steps_per_time": [40], "depth": [2]}]}},
        {*FINITE, *SOME},
    ),
    "training.ladders.replicas": (
        {"training": {"ladders": [{"width": [16], "steps_per_time": [40], "replicas": 4}]}},
        {"rich", *GRID},
    ),
    "training.alpha": ({"training": {"alpha": 0.9}}, {*CLOCK, *LIMIT}),
    "training.horizon": ({"training": {"horizon": 2.0, "checkpoints": [0.0, 2.0]}}, {*CLOCK, *LIMIT}),
    "training.checkpoints": ({"training": {"checkpoints": [0.0, 0.5, 1.0]}}, {*CLOCK, *LIMIT}),
    "training.clip": ({"training": {"clip": 0.5}}, MOVED),
    "training.update_b": ({"training": {"update_b": False}}, MOVED),
    "training.replicas_per_block": ({"training": {"replicas_per_block": 4}}, SHOWN),
    "training.antithetic": ({"training": {"antithetic": False}, "twin": {"paths": 4}}, {*FINITE, "train", *TWIN}),
    "training.loss_bins": ({"training": {"loss_bins": 5}}, CLOCK),
    "training.kernel": ({"training": {"kernel": True}}, {*FINITE, "train", *RATES}),
    "probes.count": ({"probes": {"count": 5}}, ALL),
    "probes.length": ({"probes": {"length": 11}}, ALL),
    "draws.blocks": ({"draws": {"blocks": 3}}, DRAWS),
    "draws.chains": ({"draws": {"chains": 9}}, DRAWS),
    "draws.steps": ({"draws": {"steps": 21}}, DRAWS),
    "draws.couplings": ({"draws": {"couplings": 5}}, DRAWS),
    "draws.coupling_steps": ({"draws": {"coupling_steps": 11}}, DRAWS),
    "draws.sample": ({"draws": {"sample": 3}}, DRAWS),
    "limit.nodes": ({"limit": {"nodes": 24}}, NODES),
    "limit.features": ({"limit": {"features": "quasi-random"}}, NODES),
    "twin.follow": ({"twin": {"follow": False}, "rich": {"follow": False}}, {"poisson", *RATES}),
    "twin.steps_per_time": ({"twin": {"steps_per_time": [64, 128]}}, TWIN),
    "twin.paths": ({"twin": {"paths": 8}}, TWIN),
    "quantities": ({"quantities": "quantity.py"}, RATES),
    "rich.follow": ({"rich": {"follow": False}}, RATES),
    "rich.tangents": ({"rich": {"tangents": 6}}, {"tangents", *RATES}),
    "rich.tangent_steps": ({"rich": {"tangent_steps": 16}}, {"tangents", *RATES}),
    "rich.c_nodes": ({"rich": {"c_nodes": 6}}, {*FINITE, *RATES}),
    "rich.b_nodes": ({"rich": {"b_nodes": 5}}, {*FINITE, *RATES}),
    "rich.directions": ({"rich": {"directions": 8}}, {"tangents", *RATES}),
    "rich.epsilon": ({"rich": {"epsilon": [0.25]}}, {"rich", *RATES}),
    "rich.steps_per_time": ({"rich": {"steps_per_time": 128}}, {"rich", *TWIN}),
    "rich.paths": ({"rich": {"paths": 8}}, {"rich", *TWIN}),
}
CHAIN: dict[str, dict[str, Change]] = {  # by kind; `base` is the chain before the change
    "coupled-tanh": {key: ({key: value}, ALL) for key, value in dict(a=0.4, b=0.3, s=0.4, c=0.5, e=0.2, r=0.4).items()},
    "linear-gaussian": {"a": ({"a": 0.4}, ALL), "q": ({"q": 0.9}, ALL)},
    "finite-state": {
        "transition": ({"transition": [[0.5, 0.5], [0.3, 0.7]]}, ALL),
        "x": ({"x": [-1, 1.1]}, ALL),
        "z": ({"z": [0.4, -0.2]}, ALL),
    },
    "recorded": {
        "file": ({"file": "copy.csv"}, SHOWN),  # the same series by another name
        "columns": ({"columns": ["other"], "target_column": "level"}, ALL),
        "standardize": ({"standardize": False}, ALL),
        "lead": ({"lead": 2}, ALL),
        "target_column": ({"target_column": "other"}, ALL),
    },
    "python": {
        "file": ({"file": "copy.py"}, SHOWN),  # the same step by another name
        "dimension": ({"dimension": 2, "hidden": 0}, ALL),
        "hidden": ({"hidden": 0}, ALL),
        "normals": ({"normals": 3}, ALL),
    },
}
CHAIN["coupled-tanh"]["dimension"] = ({"dimension": 2}, ALL)
CHAIN["linear-gaussian"]["dimension"] = (
    {"dimension": 2, "a": [[0.5, 0.0], [0.0, 0.4]], "q": [[0.5, 0.0], [0.0, 0.5]]},
    ALL,
)
CHAIN_BASES: dict[str, Values] = {
    "coupled-tanh": {"kind": "coupled-tanh"},
    "linear-gaussian": {"kind": "linear-gaussian", "a": 0.5, "q": 1.0},
    "finite-state": {"kind": "finite-state", "transition": [[0.6, 0.4], [0.3, 0.7]], "x": [-1, 1.2], "z": [0.5, -0.2]},
    "recorded": {"kind": "recorded", "file": "series.csv", "columns": ["level"]},
    "python": {"kind": "python", "file": "step.py", "hidden": 1},
}
NETWORK = TINY_RNTK["networks"][0]
RNTK: dict[str, Change] = {
    "name": ({"name": "other"}, RATES),
    "seed": ({"seed": 4}, TRAIN),
    "precision": ({"precision": "float32"}, TRAIN),
    "networks.activation": ({"networks": [{**NETWORK, "activation": "tanh"}]}, TRAIN),
    "networks.layers": ({"networks": [{**NETWORK, "layers": [1, 3]}]}, TRAIN),
    **{f"networks.sigma_{letter}": ({"networks": [{**NETWORK, f"sigma_{letter}": 0.7}]}, TRAIN) for letter in "wubhv"},
    "networks.bias.width": ({"networks": [{**NETWORK, "bias": {"width": [24], "replicas": 50}}]}, SOME),
    "networks.bias.replicas": ({"networks": [{**NETWORK, "bias": {"width": [8], "replicas": 60}}]}, SOME),
    "sequences.lengths": ({"sequences": {"lengths": [3, 4, 3]}}, TRAIN),
    "sequences.dimension": ({"sequences": {"dimension": 3}}, TRAIN),
    "fluctuation.width": ({"fluctuation": {"width": [8, 16, 24]}}, SOME),
    "fluctuation.replicas": ({"fluctuation": {"replicas": 42}}, SOME),
    "bias.width": ({"bias": {"width": [12]}}, SOME),
    "bias.replicas": ({"bias": {"replicas": 70}}, SOME),
    "training.width": ({"training": {"width": [24]}}, SOME),
    "training.replicas": ({"training": {"replicas": 14}}, SOME),
    "training.trained": ({"training": {"trained": 3}}, SOME),
    "training.steps": ({"training": {"steps": 7}}, SOME),
    "training.rate": ({"training": {"rate": 0.1}}, SOME),
    "training.step_ladder": ({"training": {"step_ladder": [16, 32, 64, 256]}}, RATES),
    "quantities": ({"quantities": ["quantity.py"]}, RATES),
    "weights.length": ({"weights": {"length": 9}}, RATES),
    "weights.sigma_w": ({"weights": {"sigma_w": [1.0, 1.6]}}, RATES),
    "weights.sequences": ({"weights": {"sequences": 4}}, RATES),
}


def merged(base: Values, over: Values) -> Values:
    """`base` with the keys of `over`; mappings are merged unless their kind changes."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = (
            isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        )
        result[key] = merged(old, value) if both and isinstance(old, dict) else value
    return result


def rows() -> Iterator[tuple[str, Values, Values, set[str]]]:
    """Key, study before, study after, and what is made again by hand; keys of training, chains, rntk."""
    for key, (change, again) in TRAINING.items():
        base = BASES["training"]
        yield f"training: {key}", base, merged(base, change), again
    for kind, changes in CHAIN.items():
        base = {**BASES["training"], "chain": CHAIN_BASES[kind]}
        if kind == "recorded":
            base = {key: value for key, value in base.items() if key != "target"}
        for key, (change, again) in changes.items():
            yield f"training: chain.{key} ({kind})", base, {**base, "chain": {**CHAIN_BASES[kind], **change}}, again
    for key, (change, again) in RNTK.items():
        yield f"rntk: {key}", BASES["rntk"], merged(BASES["rntk"], change), again


def leaves(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """The keys of a model with dots, each once; those of its chain, which is one of many, are `leaves` of its class."""
    for name, field in model.model_fields.items():
        below = [kind for kind in _types(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not below or name == "chain":
            yield before + name
        for kind in below if name != "chain" else ():
            yield from leaves(kind, f"{before}{name}.")


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def keys_of_schema() -> set[str]:
    """All keys in the words of `rows`, but for those that choose the kind of study or of chain."""
    own = {f"training: {key}" for key in leaves(EXPERIMENTS["training"])} - {"training: chain", "training: experiment"}
    own |= {f"rntk: {key}" for key in leaves(EXPERIMENTS["rntk"])} - {"rntk: experiment"}
    shipped = {name: kind for name, kind in CHAINS.items() if kind.__module__.startswith("rnnlimits.")}
    chain = {f"training: chain.{key} ({name})" for name, kind in shipped.items() for key in leaves(kind)}
    return own | {key for key in chain if not key.startswith("training: chain.kind ")}


def at(values: Values, root: Path) -> Experiment:
    """The study with the results folder `root`; files of its chain lie in the folder above."""
    return experiments.at(study.loads_any(yaml.safe_dump(values), root.parent / "study.yaml"), root)


def groups(experiment: Experiment) -> set[str]:
    """What is due, in the words of the table: of the packs and of the twins all, or some."""
    found = due.due(experiment)
    parts = experiment.parts()
    commands = {part.name: part.command if part.command != "work" else part.name for part in parts}
    names = set(found.steps) | ({"study"} if experiment.layout.study_yaml in found.paths else set())
    for command in sorted(set(commands.values())):
        wanted = [name for name, of in commands.items() if of == command]
        again = [name for name in wanted if name in found.parts]
        names |= {command if again == wanted else f"some {command}"} if again else set()
    return names


def table(folder: Path) -> Iterator[tuple[str, Experiment, Experiment, set[str]]]:
    """For each key the study before, whose files are all there, the study after, and what is made again by hand."""
    for name in ("series.csv", "copy.csv"):
        (folder / name).write_text(SERIES)
    for name in ("step.py", "copy.py", "quantity.py"):  # nothing is run to say what is due
        (folder / name).write_text("raise SystemExit(1)\n")
    finished: dict[str, Path] = {}
    for key, before, after, again in rows():
        text = yaml.safe_dump(before)
        if text not in finished:
            finished[text] = folder / f"results-{len(finished)}"
            stand_ins.finish(at(before, finished[text]))
        yield key, at(before, finished[text]), at(after, finished[text]), again


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for key, _, after, again in table(Path(name)):
            made = groups(after)
            print(f"{key:44}", ", ".join(sorted(made)), "" if made == again else f"EXPECTED {sorted(again)}")
