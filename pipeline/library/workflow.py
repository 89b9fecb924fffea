"""The whole workflow, started from Python."""

from __future__ import annotations

from pathlib import Path

from rnnlimits import study as files
from rnnlimits.base.errors import StudyError
from rnnlimits.files import durable
from rnnlimits.library import arguments
from rnnlimits.library.results import Results
from rnnlimits.library.results import open as open_results
from rnnlimits.library.studies import AnyStudy, Source, any_study
from rnnlimits.run import workflow
from rnnlimits.training.layout import Layout


def run_study(
    study: files.AnyStudy | Source, results: Source = "results", cores: int | None = None, *, backend: str = "auto"
) -> Results:
    """Run the whole workflow like `rnnlimits run STUDY`: every stage that is not up to date, on all cores.

    study: a Study, a study file or the name of one that ships; one that was built in Python is
    saved as RESULTS/NAME.yaml, so that the command line can continue it. results: the folder of all
    results; those of the study go to RESULTS/NAME. cores: ranks to start (default: all cores, or
    one for each GPU). backend: auto, cuda, host or numpy.

    Writes files, starts Snakemake and MPI in separate processes, and shows their progress on
    stderr. After an interruption, call it again to resume. Raises StudyError for a study, folder or
    back end that is refused, and RuntimeError if the workflow failed for another reason.
    """
    named_study, folder = any_study(study), Path(results)
    count = None if cores is None else arguments.whole("cores", cores)
    arguments.one_of("backend", backend, workflow_backends())
    path = _file_of(named_study, folder)
    with arguments.refusals():
        code = workflow.run(named_study, path, folder, count, (), backend)
    layout = Layout.of(named_study, folder)
    if code == 2:
        raise StudyError(f"{path}: a stage refused its input; its message is on stderr and in {layout.logs}")
    if code != 0:
        raise RuntimeError(f"{path}: the workflow failed with exit code {code}; {layout.logs} has the logs")
    return open_results(layout.root)


def workflow_backends() -> tuple[str, ...]:
    """Names of back ends."""
    from rnnlimits.kernels import BACKEND_NAMES

    return BACKEND_NAMES


def _file_of(study: AnyStudy, results: Path) -> Path:
    """A file with the study: the one it was read from, if that has not changed since, else a new one.

    The copy in the results is not used, as the workflow itself rebuilds it.
    """
    source, copy = study.source, Layout.of(study, results).study_yaml
    usable = source.is_file() and source.resolve() != copy.resolve()
    if usable and files.to_yaml(files.load_any(source)) == study.to_yaml():
        return source
    path = results / f"{study.name}.yaml"
    durable.require_folder(path)
    durable.write_bytes(path, files.to_yaml(study, results).encode())
    return path
