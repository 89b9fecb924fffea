"""The kind `python`: a step in NumPy from a file of the user's own, held to what paths and theory need of it."""

from __future__ import annotations

from pathlib import Path as File
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from rnnlimits.base import ownfiles
from rnnlimits.base.fields import WHOLE, Allowed, Array, Count, Name
from rnnlimits.base.ownfiles import OwnFile
from rnnlimits.chains import base, step_contract
from rnnlimits.chains.base import UNSAVED, Chain, Verdict, register
from rnnlimits.chains.own_step import OwnStepProcess, sample_states
from rnnlimits.chains.step_contract import FileStep
from rnnlimits.chains.targets import Target, required

CountOrNone = Annotated[int, Field(strict=True, ge=0, le=2**30), WHOLE, Allowed("a whole number from 0 to 2^30")]


@register
class PythonStep(Chain):
    """H' = step(H, xi) with a function of a Python file; H = (X, Z), and xi are independent standard normals."""

    reads_file: ClassVar[bool] = True
    equation: ClassVar[str] = r"$H' = \text{step}(H, \xi)$ with $H = (X, Z)$, a function in a Python file of your own"

    kind: Literal["python"]
    file: Name = Field(description="Python file with step(h, xi) in NumPy; a path relative to the study file")
    dimension: Count = Field(default=1, description="Components of X, the first of H")
    hidden: CountOrNone = Field(default=0, description="Components of Z, the others of H")
    normals: Count | None = Field(default=None, description="Standard normals in a step; default: components of H")

    def own(self, source: File = UNSAVED) -> OwnFile:
        """The file as it was when the study first needed it. Raises StudyError if it cannot be read."""
        # Kept with the chain, so that its identity is that of the code that runs, on every rank.
        kept = self.__dict__.get("_own")
        if kept is None:
            kept = self.__dict__["_own"] = ownfiles.read(source.parent / self.file, "chain.file")
        own: OwnFile = kept
        return own

    def steps(self, source: File = UNSAVED) -> FileStep:
        """The step of the file, checked. Raises StudyError with the file and, if there is one, the line."""
        size = self.dimension + self.hidden
        return step_contract.checked(self.own(source), self.dimension, self.hidden, self.normals or size)

    def process(self, target: Target | None, source: File = UNSAVED) -> OwnStepProcess:
        """See Chain.process."""
        return OwnStepProcess(self.steps(source), required(target))

    def contraction(self, source: File = UNSAVED) -> Verdict:
        """By `lipschitz` of the file, or else by simulation. Raises StudyError for a step that cannot be used."""
        return step_contract.verdict(self.steps(source))

    def sample_inputs(self, source: File = UNSAVED) -> Array:
        """See Chain.sample_inputs."""
        return base.bounded(sample_states(self.steps(source))[:, : self.dimension])

    def findings(self, source: File = UNSAVED) -> list[str]:
        """That such a chain is slow."""
        return [f"{self.own(source).path}: its step runs in NumPy on the processor, slower than compiled chains"]

    def identity(self, source: File = UNSAVED) -> dict[str, Any]:
        """The digest of the file: its name does not matter."""
        shape = {"dimension": self.dimension, "hidden": self.hidden}
        normals = self.normals or self.dimension + self.hidden
        return {"kind": self.kind, "digest": self.own(source).digest, **shape, "normals": normals}

    def moved(self, old: File, new: File) -> PythonStep:
        """See Chain.moved: the file stays where it is."""
        return self.model_copy(update={"file": ownfiles.moved(self.file, old, new)})
