"""The study: one YAML file, loaded into frozen typed sections. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic.json_schema import models_json_schema

from rnnlimits.base import ownfiles
from rnnlimits.base.errors import StudyError
from rnnlimits.base.fields import Count, Found, Section, Several, Switch, nearest, refusal, show
from rnnlimits.base.ownfiles import OwnFile
from rnnlimits.base.textfiles import read_utf8
from rnnlimits.chains.base import AnyChain, after_registration
from rnnlimits.chains.targets import Target
from rnnlimits.study import own_activation
from rnnlimits.study.base import QUANTITIES, AnyStudy, OwnFiles
from rnnlimits.study.elman import RntkStudy, Seed, StudyName
from rnnlimits.study.errors import one_line
from rnnlimits.study.identity import study_id
from rnnlimits.study.network import GaussianW, Network
from rnnlimits.study.rich import RichSection
from rnnlimits.study.text import parse
from rnnlimits.study.training import Training

REMEDY = "give a study file, which is UTF-8 text"
Features = Literal["grid", "gauss-hermite", "quasi-random"]


class Probes(Section):
    """Probe histories: stretches of the chain that every trained network is asked about."""

    count: Count = Field(default=16, description="Number of probe histories")
    length: Count = Field(default=40, description="Steps in each")


class Draws(Section):
    """Monte Carlo of the chain with the infinite-width memory."""

    blocks: Several = Field(default=16, description="Independent blocks; their spread is the standard error")
    chains: Count = Field(default=128, description="Chains in each block")
    steps: Count = Field(default=500, description="Recorded draws of each chain")
    couplings: Count = Field(default=64, description="Coupled pairs in each block")
    coupling_steps: Several = Field(default=40, description="Steps of each coupled pair")
    sample: Count = Field(default=4, description="Draws of each chain that are stored")

    @model_validator(mode="after")
    def _sample(self) -> Self:
        if self.sample > self.steps:
            raise refusal("sample", self.sample, f"allowed: at most draws.steps, {self.steps}")
        return self


class Limit(Section):
    """The limit's quadrature over the law of (W, B)."""

    nodes: Several = Field(default=64, description="Nodes of the quadrature")
    features: Features | None = Field(
        default=None,
        description="grid: a product of one-dimensional rules (default for d <= 2); quasi-random: Sobol points",
    )


class TwinSection(Section):
    """Infinite-width twins: online SGD on the limit's features along the paths of the trainings."""

    follow: Switch = Field(default=False, description="A twin for the path of every training")
    steps_per_time: Annotated[tuple[Count, ...], Field()] = Field(
        default=(), description="Further K, for twins alone: a ladder in K at infinite width"
    )
    paths: Count = Field(default=256, description="Paths at each of the further K; a multiple of the block's paths")


class Study(AnyStudy):
    """A study: what is measured, and how precisely."""

    name: StudyName = Field(description="Names the folder results/NAME")
    seed: Seed = Field(default=20231108, description="Of every random number; another seed is another folder")
    precision: Literal["float32", "float64"] = Field(default="float32", description="Arithmetic of the trainings")
    allow_noncontracting: Switch = Field(default=False, description="Run although chain or memory may not contract")
    chain: AnyChain = Field(description="The data: an ergodic Markov chain, or a recorded series")
    target: Target | None = Field(default=None, description="What is learned; left out for a recorded series")
    network: Network = Field(default=Network(), description="The network and its initial law")
    training: Training = Field(description="The grid of trainings")
    probes: Probes = Field(default=Probes(), description="Probe histories")
    draws: Draws = Field(default=Draws(), description="Monte Carlo of the chain")
    limit: Limit = Field(default=Limit(), description="Quadrature of the limit")
    twin: TwinSection = Field(default=TwinSection(), description="Infinite-width twins")
    rich: RichSection = Field(default=RichSection(), description="Rich twins and tangents, which predict every point")
    quantities: OwnFiles = Field(default=(), description=QUANTITIES)
    experiment: Literal["training"] = Field(default="training", description="Which kind of study this is")

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        self._check_target()
        self.network.check(self.dimension)
        if self.limit.features == "gauss-hermite" and not isinstance(self.network.w, GaussianW):
            allowed = "allowed for a W that is not Gaussian: grid, quasi-random"
            raise refusal("limit.features", self.limit.features, allowed)
        self._check_twin()
        self._check_rich()
        return self

    def _check_twin(self) -> None:
        block = self.training.paths_per_block if self.training.replicas_per_block else 1
        if self.twin.steps_per_time and self.twin.paths % block:
            raise refusal("twin.paths", self.twin.paths, f"allowed: multiples of the paths of a block, {block}")
        for index, steps in enumerate(self.twin.steps_per_time):
            self.training.check_steps(f"twin.steps_per_time[{index}]", steps)

    def _check_rich(self) -> None:
        rich, block = self.rich, self.training.paths_per_block if self.training.replicas_per_block else 1
        if rich.follow and not self.twin.follow:
            raise refusal("rich.follow", True, "it needs twins on the same paths: set twin.follow: true")
        if not rich.epsilon:
            return
        for index, value in enumerate(rich.epsilon):
            if value in rich.epsilon[:index]:
                raise refusal(f"rich.epsilon[{index}]", value, "allowed: each value once")
        if rich.paths % block:
            raise refusal("rich.paths", rich.paths, f"allowed: multiples of the paths of a block, {block}")
        self.training.check_steps("rich.steps_per_time", rich.steps_per_time)

    def _check_target(self) -> None:
        if self.chain.own_target:
            if self.target is not None:
                problem = Found("is given together with a recorded series")
                raise refusal("target", problem, f"leave it out: {self.chain.own_target}")
        elif self.target is None:
            raise refusal("target", Found("is missing"), f"a {self.chain.kind} chain needs one")
        else:
            self.target.check(self.dimension, self.hidden)

    @property
    def identity(self) -> str:
        """12 hexadecimal digits of what changes any result of the study."""
        return study_id(self)

    @property
    def names_files(self) -> bool:
        """See `AnyStudy.names_files`."""
        return super().names_files or self.chain.reads_file or self.network.activation_file is not None

    def moved(self, folder: Path) -> Self:
        """See `AnyStudy.moved`; the chain may name a file as well."""
        old = self.source.parent
        update = {"chain": self.chain.moved(old, folder), "network": self.network.moved(old, folder)}
        return super().moved(folder).model_copy(update=update)

    @property
    def own_activation(self) -> OwnFile | None:
        """The file of the activation, as it was when the study first needed it; None for one known by name.

        Raises StudyError if it cannot be read.
        """
        name = self.network.activation_file
        if name is None:
            return None
        if "_own_activation" not in self.__dict__:  # see own_quantities
            path = self.source.parent / name
            self.__dict__["_own_activation"] = ownfiles.read(path, "network.activation")
        file: OwnFile = self.__dict__["_own_activation"]
        return file

    @property
    def activation(self) -> str:
        """The name of its activation in the registry of the kernels.

        Raises StudyError for a file that cannot be run, or does not define an activation.
        """
        file = self.own_activation
        return self.network.activation if file is None else own_activation.name_of(file)

    def prepare(self) -> None:
        """See `AnyStudy.prepare`."""
        if (file := self.own_activation) is not None:
            own_activation.name_of(file)

    def backend_for(self, name: str, say: Callable[[str], None] = lambda _: None) -> str:
        """See `AnyStudy.backend_for`: an activation from a file is computed in NumPy alone."""
        if self.network.activation_file is None or name == "numpy":
            return name
        if name != "auto":
            what = f"network.activation is {self.network.activation}, which runs in NumPy alone"
            raise StudyError(f"{self.source}: {what}; --backend is {name}, allowed: numpy (what auto means here)")
        say(f"rnnlimits: --backend numpy: {self.network.activation} runs in NumPy alone, 10 to 100 times slower")
        return "numpy"

    @property
    def dimension(self) -> int:
        """d, the number of components of X."""
        return self.chain.dimension

    @property
    def hidden(self) -> int:
        """dz, the number of components of Z."""
        return self.chain.hidden

    @property
    def features(self) -> Features:
        """The value of limit.features, with its default resolved."""
        if self.limit.features is not None:
            return self.limit.features
        return "grid" if self.dimension <= 2 else "quasi-random"


after_registration(lambda: Study.model_rebuild(force=True))

# A new kind of study needs a model in its own module, a line here, and one in `rnnlimits.experiments.KINDS`.
EXPERIMENTS: dict[str, type[AnyStudy]] = {"training": Study, "rntk": RntkStudy}


def load(path: Path | str) -> Study:
    """Read and check one study file of `experiment: training`. Raises StudyError, one line, for any error in it."""
    return loads(read_utf8(Path(path), REMEDY), path)


def load_any(path: Path | str) -> AnyStudy:
    """Read and check one study file of any experiment. Raises StudyError, one line, for any error in it."""
    return loads_any(read_utf8(Path(path), REMEDY), path)


def loads(text: str, origin: Path | str) -> Study:
    """Check the text of a study file; `origin` names it in errors, and relative paths are relative to its folder."""
    study = loads_any(text, origin)
    if not isinstance(study, Study):
        raise StudyError(
            f"{origin}: experiment is {study.experiment}, which has no such stage; its verbs are check, plan, run, "
            "train, rates, figures, summary and those that read files"
        )
    return study


def loads_any(text: str, origin: Path | str) -> AnyStudy:
    """Check the text of a study file of any experiment; `origin` as for `loads`."""
    raw = parse(text, str(origin))
    if raw is None:
        raise StudyError(f"{origin}: is empty; a study has at least name, chain and training")
    kind = raw.get("experiment", "training") if isinstance(raw, dict) else "training"
    if kind not in list(EXPERIMENTS):
        raise StudyError(f"{origin}: experiment is {show(kind)}; {nearest(str(kind), EXPERIMENTS)}")
    return _validated(EXPERIMENTS[kind], raw, origin)


def _validated(model: type[AnyStudy], raw: object, origin: Path | str) -> AnyStudy:
    try:
        study = model.model_validate(raw)
    except ValidationError as error:
        raise StudyError(one_line(error, raw, str(origin))) from error
    study._source = Path(origin)
    return study


def to_yaml(study: AnyStudy, folder: Path | None = None) -> str:
    """The study with every default written out; `loads` gives an equal study back.

    folder: where the text will be written, if not next to the study's own file; paths are then relative to it.
    """
    return yaml.safe_dump(study.values(folder), sort_keys=False, default_flow_style=None, width=100)


def json_schema() -> dict[str, Any]:
    """JSON schema of study files, for editors; config/schema.json is a copy of it."""
    names = [(model, "validation") for model in EXPERIMENTS.values()]
    of_models, definitions = models_json_schema(names)  # type: ignore[arg-type]
    references = {kind: of_models[model, "validation"] for kind, model in EXPERIMENTS.items()}
    choice: dict[str, Any] = references["training"]
    for kind in reversed([kind for kind in EXPERIMENTS if kind != "training"]):
        is_kind = {"properties": {"experiment": {"const": kind}}, "required": ["experiment"]}
        choice = {"if": is_kind, "then": references[kind], "else": choice}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Study file of rnnlimits",
        "type": "object",
        "properties": {"experiment": {"enum": list(EXPERIMENTS), "description": "Which kind of study this is"}},
        "$defs": definitions["$defs"],
        **choice,
    }
