"""Studies in Python: built from keyword arguments, read from a file or by the name of one that ships, saved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rnnlimits import experiments
from rnnlimits import study as files
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.library.arguments import computing, plain
from rnnlimits.run import shipped
from rnnlimits.study.errors import one_line

Source = str | os.PathLike[str]


class Study(files.Study):
    """A study of `experiment: training`, built in Python with the keys, defaults and checks of a study file.

    Keyword arguments are the sections of a study file (docs/howto/own-study.md,
    config/schema.json): chain, target, network, training, probes, draws, limit, twin, rich,
    quantities, seed, precision, name. Files are relative to the working folder. Mappings, lists,
    NumPy scalars and arrays are accepted; name may be left out.
    Raises StudyError, one line, for anything that would be refused in a study file.

    >>> study = Study(
    ...     chain={"kind": "coupled-tanh"},
    ...     target={"sin_x": 1.0, "z": 0.5},
    ...     training={"beta": [0.75], "width": [64, 1024]},
    ... )
    """

    def __init__(self, **sections: Any) -> None:
        values = _values(sections)
        with _one_line(values):
            super().__init__(**values)

    @property
    def id(self) -> str:
        """12 hexadecimal digits of what changes any result; the same for equal studies in Python and in a file."""
        return self.identity

    def to_yaml(self) -> str:
        """The study as the text of a study file, with every default written out."""
        return files.to_yaml(self)

    def save(self, path: Source) -> Path:
        """Write `to_yaml` to a file, for `load` and for the command line; returns its path.

        A recorded series is named relative to the new file. Raises StudyError if the file cannot
        be written.
        """
        return _save(self, path)

    def __repr__(self) -> str:
        return f"<Study {self.name}: {self.chain.kind}, d = {self.dimension}>"

    __str__ = __repr__


class RntkStudy(files.RntkStudy):
    """A study of `experiment: rntk` (docs/rntk.md), built in Python as `Study` is."""

    def __init__(self, **sections: Any) -> None:
        values = {"experiment": "rntk", **_values(sections)}
        with _one_line(values):
            super().__init__(**values)

    @property
    def id(self) -> str:
        """12 hexadecimal digits of what changes any result; the same for equal studies in Python and in a file."""
        return self.identity

    def to_yaml(self) -> str:
        """The study as the text of a study file, with every default written out."""
        return files.to_yaml(self)

    def save(self, path: Source) -> Path:
        """Write `to_yaml` to a file; see `Study.save`."""
        return _save(self, path)

    def __repr__(self) -> str:
        return f"<RntkStudy {self.name}: {', '.join(named.name for named in self.elmans)}>"

    __str__ = __repr__


AnyStudy = Study | RntkStudy
PUBLIC: Mapping[str, type[Study] | type[RntkStudy]] = {"training": Study, "rntk": RntkStudy}


def load(source: Source) -> AnyStudy:
    """A study from a file, or one that ships, by its name: "demo", "full", "recorded", "rntk".

    Returns a Study, or an RntkStudy for `experiment: rntk`. Raises StudyError, one line, for: no such
    file or name, or any error in its contents.
    """
    if not isinstance(source, str | os.PathLike):
        raise StudyError(f"study is {source!r}; give a Study, a study file or the name of one that ships")
    return adopted(files.load_any(shipped.study(Path(source))))


def adopted(study: files.AnyStudy) -> AnyStudy:
    """A validated study as an instance of one of the public classes."""
    public = PUBLIC[study.experiment]
    if isinstance(study, public):
        return study
    fields = {name: getattr(study, name) for name in type(study).model_fields}
    result: AnyStudy = public.model_construct(study.model_fields_set, **fields)
    result._source = study.source
    return result


def training_study(study: files.AnyStudy | Source, what: str) -> Study:
    """The study for a public function, given or read from a file: of `experiment: training`, and checked.

    what: the name of the function in refusals. Raises StudyError for a study that the command line would
    refuse as well.
    """
    checked = any_study(study)
    if not isinstance(checked, Study):
        raise StudyError(
            f"{checked.source}: experiment is rntk, which has no {what}; give a study of experiment: training"
        )
    with computing():
        _checked(checked)
    return checked


def any_study(study: files.AnyStudy | Source) -> AnyStudy:
    """A study of any experiment: given, or read from a file."""
    return adopted(study) if isinstance(study, files.AnyStudy) else load(study)


@lru_cache(maxsize=64)
def _checked(study: Study) -> None:
    experiments.check(study)


def _values(sections: Mapping[str, object]) -> dict[str, Any]:
    return {"name": "study", **{key: plain(value, key) for key, value in sections.items() if value is not None}}


@contextmanager
def _one_line(values: Mapping[str, object]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise StudyError(one_line(error, values, "study")) from None


def _save(study: AnyStudy, path: Source) -> Path:
    target = Path(path)
    durable.require_folder(target)
    durable.write_bytes(target, files.to_yaml(study, target.parent).encode())
    return target
