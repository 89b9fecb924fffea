"""The command line: `rnnlimits VERB`, one verb for each stage. Results on stdout, everything else on stderr.

Exit codes: 0 done; 1 a defect or a failed rank; 2 bad input, one line that says what to do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import BACKEND, MPI_START, __version__
from pipeline.errors import StudyError, note_refusal
from pipeline.segments import forget_unused

# The stages, MPI and plotting are imported by the verbs that need them: `--help` and `check` start at once.
if TYPE_CHECKING:
    from kernels.problem import Backend
    from pipeline.design import Resolved
    from pipeline.stages import Order
    from pipeline.study import AnyStudy, Study

# Ranks are the parallelism. A linear-algebra library that starts threads of its own would fight them for cores, and
# its sums would depend on how many it got. Set, not defaulted: Snakemake exports other values. Read by NumPy's import.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

DEFAULT_RESULTS = Path("results")
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")  # set by mpiexec and srun for each rank


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    if any(name in os.environ for name in RANK_VARIABLES):
        # An interrupted rank must die at once: one that winds up in Python waits for ranks that wait for it. Nothing
        # is lost by that, as files appear whole or not at all.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        forget_unused()
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options = _parser().parse_args(words[:end])
    options.further = words[end + 1 :]
    from kernels.problem import KernelError  # only now: NumPy need not be imported for --help

    try:
        options.verb(options)
    except (StudyError, KernelError) as error:
        _say(f"rnnlimits: {error}")
        note_refusal(str(error))
        return 2
    except KeyboardInterrupt:
        _say("rnnlimits: interrupted; the same command continues where it stopped")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left, which is its right
        return 0
    return 0


def _say(line: str) -> None:
    """A line on stderr, from one rank only: a failed stage raises the same error on all of them."""
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is None or mpi.COMM_WORLD.rank == 0:
        print(line, file=sys.stderr, flush=True)


# --- verbs -------------------------------------------------------------------------------------------------


def _load(options: argparse.Namespace) -> Study:
    from pipeline import study

    return study.load(options.study)


def _backend(options: argparse.Namespace) -> Backend:
    from kernels import backend

    return backend(options.backend, warn=_say)


def _check(options: argparse.Namespace) -> None:
    from pipeline.experiments import check
    from pipeline.files import durable
    from pipeline.study import load_any, to_yaml

    study = load_any(options.study)
    for finding in check(study):
        print(finding)
    print(f"{options.study}: good")
    if options.resolved is not None:
        durable.write_bytes(options.resolved, to_yaml(study, options.resolved.parent).encode())


def _plan(options: argparse.Namespace) -> None:
    from pipeline import plan
    from pipeline.calibration import ns_per_unit_step
    from pipeline.experiments import require_training
    from pipeline.rntk import plan as rntk_plan
    from pipeline.study import RntkStudy, load_any

    found = load_any(options.study)
    if options.resolve is None and options.write is not None:
        raise StudyError("--write: needs --resolve, which chooses the replicas to write")
    if isinstance(found, RntkStudy) and options.cluster is None and options.resolve is None:
        print(rntk_plan.summary(found))
        return
    if options.cluster is not None:
        print(_cluster_plan(found, options.cluster))
        return
    study = require_training(found, "replicas to resolve")
    be = _backend(options)
    worker = "GPU" if be.name == "cuda" else "core"
    if options.resolve is None:
        print(plan.summary(study, ns_per_unit_step(study, be), worker))
        return
    resolved = _resolved(study, options, be)
    print(resolved.report(ns_per_unit_step(study, be), worker))


def _cluster_plan(study: AnyStudy, folder: Path) -> str:
    from pipeline.cluster import submission
    from pipeline.experiments import check
    from pipeline.layout import Layout

    check(study)
    using = submission.profile(folder)
    return submission.report(study, Layout.of(study, Path(using.site.results)), using)


def _resolved(study: Study, options: argparse.Namespace, be: Backend) -> Resolved:
    """The study with the replicas that --resolve asks for, written where --write says."""
    from kernels import on_processor
    from pipeline import design
    from pipeline.files import durable
    from pipeline.layout import Layout

    layout = Layout.of(study, options.results)
    resolved = design.resolve(study, layout, on_processor(be), options.resolve, options.quantity)
    if options.write is not None:
        durable.require_folder(options.write)
        durable.write_bytes(options.write, resolved.to_yaml(options.write.parent).encode())
    return resolved


def _schema(_: argparse.Namespace) -> None:
    from pipeline.study import json_schema

    print(json.dumps(json_schema(), indent=2))


def _parallel_stage(options: argparse.Namespace) -> None:
    """draw, twin, train and work: every rank comes here; rank 0 reads the study and holds the lock."""
    from pipeline import stages

    stages.distributed(_order(options))


def _serial_stage(options: argparse.Namespace) -> None:
    """limit, poisson, rates, figures, report: one process, which is alone also where a launcher of ranks started it."""
    for name in MPI_START:
        os.environ.pop(name, None)
    from pipeline import stages

    stages.serial(_order(options))


def _order(options: argparse.Namespace) -> Order:
    from pipeline.stages import Order

    return Order(
        options.name,
        options.study,
        options.results,
        options.backend,
        _say,
        pack=options.pack,
        steps=options.steps,
        log=options.log,
        parts=options.parts,
    )


def _summary(options: argparse.Namespace) -> None:
    from pipeline.summary import summary

    print(summary(options.results_folder))


def _run(options: argparse.Namespace) -> None:
    from pipeline import workflow
    from pipeline.layout import Layout
    from pipeline.study import load_any
    from pipeline.summary import summary

    study = load_any(options.study)
    if options.profile is not None:
        results, code = _run_on_cluster(study, options)
    else:
        results = options.results or DEFAULT_RESULTS
        code = workflow.run(study, options.study, results, options.cores, options.further, options.backend)
    if code != 0:
        raise SystemExit(code)
    print(summary(Layout.of(study, results).root))


def _run_on_cluster(study: AnyStudy, options: argparse.Namespace) -> tuple[Path, int]:
    """The results folder, which is the site's if none was asked for, and the exit code."""
    from pipeline import workflow
    from pipeline.cluster import submission

    if options.cores is not None:
        raise StudyError("--cores: is for work on this machine; with --profile, site.yaml says what jobs are given")
    using = submission.profile(options.profile)
    results = options.results or Path(using.site.results)
    backend = options.backend if options.backend != "auto" else using.site.backend
    return results, workflow.submit(study, options.study, results, using.folder, options.further, backend)


def _doctor(options: argparse.Namespace) -> None:
    from pipeline import doctor

    code = doctor.run(options.results, options.backend)
    if code != 0:
        raise SystemExit(code)


def _atlas(options: argparse.Namespace) -> None:
    from pipeline import atlas, atlas_figure, workflow

    chosen = atlas.load(options.atlas)
    paths = atlas.write_studies(chosen, options.results)
    if options.write_only:
        print("\n".join(str(path) for path in paths.values()))
        return
    for number, (variant, study) in enumerate(chosen.studies.items(), 1):
        _say(f"--- {variant} ({number} of {len(paths)}): {paths[variant]}")
        code = workflow.run(study, paths[variant], options.results, options.cores, options.further, options.backend)
        if code != 0:
            raise SystemExit(code)
    found = atlas.rates(chosen, options.results)
    print(atlas.table(found))
    print(f"\nwhere to look:\n  {atlas.write_table(chosen, options.results, found)}")
    for path in atlas_figure.draw(found, chosen.root(options.results)):
        print(f"  {path}")


def _memory(options: argparse.Namespace) -> None:
    from kernels import processor
    from pipeline import memory_table
    from pipeline.layout import Layout

    study = _load(options)
    layout = Layout.of(study, options.results)
    print(memory_table.run(study, layout, processor(options.backend, warn=_say)))
    print(f"\nwhere to look:\n  {layout.memory_csv}")


def _classify(options: argparse.Namespace) -> None:
    from pipeline.rntk import comparison, report

    wanted = comparison.Wanted(tuple(options.sets), options.archive, options.results, options.quick)
    if options.method is not None:
        comparison.one(wanted, options.method, options.part)
        return
    if not options.table:
        code = comparison.run(wanted, options.cores, options.further)
        if code != 0:
            raise SystemExit(code)
    print(comparison.table(wanted))
    print("\nwhere to look:", *(f"  {path}" for path in report.paths(options.results).values()), sep="\n")


def _watch(options: argparse.Namespace) -> None:
    from pipeline.watch import live

    live.watch(options.results_folder, options.study, options.every, options.once, options.json)


def _compare(options: argparse.Namespace) -> None:
    from pipeline import compare

    print(compare.run(options.results_folders, options.csv, options.figure, options.json))


def _pack(options: argparse.Namespace) -> None:
    from pipeline.files.packing import pack

    pack(options.results_folder, options.output)


def _validate(options: argparse.Namespace) -> None:
    from pipeline.files.inspection import missing, validate

    faults = [*validate(options.path), *missing(options.path)]
    for fault in faults:
        print(fault)
    if faults:
        raise StudyError(f"{options.path}: {len(faults)} fault{'s' * (len(faults) > 1)} found")
    print(f"{options.path}: valid")


def _inspect(options: argparse.Namespace) -> None:
    from pipeline.files.inspection import inspect

    print(inspect(options.path))


def _digest(options: argparse.Namespace) -> None:
    from pipeline.files.inspection import digest

    print("\n".join(digest(options.path)))


# --- words -------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rnnlimits",
        description="Measure how fast wide recurrent networks, trained online, converge to their kernel limit.",
        epilog="Start with: rnnlimits run config/demo.yaml",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _study_verbs(verbs)
    _stage_verbs(verbs)
    _file_verbs(verbs)
    _looking_verbs(verbs)
    _rntk_verbs(verbs)
    return parser


def _study_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = _verb(verbs, "check", _check, "check a study file", "rnnlimits check config/demo.yaml")
    plan = _verb(verbs, "plan", _plan, "what a study will cost", "rnnlimits plan config/full.yaml")
    run = _verb(verbs, "run", _run, "run the whole workflow", "rnnlimits run config/demo.yaml --cores 4")
    for verb in (check, plan, run):
        verb.add_argument("study", type=Path, metavar="STUDY", help="study file (YAML)")
    check.add_argument("--resolved", type=Path, metavar="FILE", help="also write the study with every default")
    for verb in (plan, run):
        _backend_option(verb)
    _resolve_options(plan)
    _results_option(run, None, f"folder of all results (default: {DEFAULT_RESULTS}, or the site's)")
    profile = plan.add_argument_group("for a cluster")
    about = "the jobs of a Slurm profile, their cost, their sbatch lines (default: cluster/slurm)"
    profile.add_argument("--cluster", nargs="?", type=Path, const=Path("cluster/slurm"), metavar="PROFILE", help=about)
    about = "submit jobs to Slurm as this profile says, such as cluster/slurm (default: work here)"
    run.add_argument("--profile", type=Path, metavar="PROFILE", help=about)
    run.add_argument("--cores", type=_whole, default=None, help="ranks to start (default: all cores, or all GPUs)")
    run.epilog = f"{run.epilog}; what follows -- goes to Snakemake"
    doctor = _verb(verbs, "doctor", _doctor, "whether this machine can train", "mpiexec -n 2 rnnlimits doctor")
    _results_option(doctor)
    _backend_option(doctor)
    settling = _verb(
        verbs, "memory", _memory, "memory against updates and width, untrained", "rnnlimits memory config/demo.yaml"
    )
    settling.add_argument("study", type=Path, metavar="STUDY", help="study file (YAML)")
    _results_option(settling)
    _backend_option(settling)
    maps = _verb(verbs, "atlas", _atlas, "a study in many variants", "rnnlimits atlas config/atlas-small.yaml")
    maps.add_argument("atlas", type=Path, metavar="ATLAS", help="atlas file (YAML): name, base, variants")
    maps.add_argument("--write-only", action="store_true", help="only write the study files, to be submitted elsewhere")
    maps.add_argument("--cores", type=_whole, default=None, help="cores to use (default: all)")
    _results_option(maps)
    _backend_option(maps)
    _verb(verbs, "schema", _schema, "the JSON schema of study files", "rnnlimits schema > schema.json")


def _resolve_options(plan: argparse.ArgumentParser) -> None:
    about = "choose the replicas that give exponents this half-width, from what results hold of the study"
    plan.add_argument("--resolve", type=_positive, metavar="HALF", help=about)
    quantity = "output_fluctuation"
    plan.add_argument("--quantity", default=quantity, help=f"whose exponents to resolve (default: {quantity})")
    plan.add_argument("--write", type=Path, metavar="FILE", help="also write the study with these replicas")
    _results_option(plan)


def _stage_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    stages = {
        "draw": ("Monte Carlo of the chain with the infinite-width memory", "mpiexec -n 2 rnnlimits draw STUDY"),
        "train": ("train the ensembles", "mpiexec -n 2 rnnlimits train STUDY --pack N00064-K00064"),
        "twin": ("online SGD at infinite width along the same paths", "mpiexec -n 2 rnnlimits twin STUDY --steps 64"),
        "work": ("several parts of a study in one job", "mpiexec -n 2 rnnlimits work STUDY draw N00064-K00064"),
        "limit": ("solve the limit", "rnnlimits limit STUDY"),
        "poisson": ("long-run variances: constants of the square-root laws", "rnnlimits poisson STUDY"),
        "rates": ("estimate the rates", "rnnlimits rates STUDY"),
        "figures": ("draw the figures", "rnnlimits figures STUDY"),
        "report": ("write report.html, one page of all results", "rnnlimits report STUDY"),
    }
    for name, (words, example) in stages.items():
        in_parallel = name in ("draw", "train", "twin", "work")
        verb = _verb(verbs, name, _parallel_stage if in_parallel else _serial_stage, words, example)
        verb.set_defaults(name=name, pack=None, steps=None, log=None, parts=())
        verb.add_argument("study", type=Path, metavar="STUDY", help="study file (YAML)")
        _results_option(verb)
        _backend_option(verb)
        if in_parallel:
            verb.add_argument("--log", type=Path, help="also write progress to this file, in plain lines")
        if name == "work":
            about = "draw, twin-K00064 or a pack (rntk: a pack): what `rnnlimits plan --cluster` puts into jobs"
            verb.add_argument("parts", nargs="+", metavar="PART", help=about)
        if name == "twin":
            verb.add_argument("--steps", type=_whole, metavar="K", help="one K (default: every K that has twins)")
        if name == "train":
            verb.add_argument("--pack", help="one pack of cells, as listed by `rnnlimits plan` (default: all)")


def _file_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = _verb(verbs, "summary", _summary, "the table of rates of a study", "rnnlimits summary results/demo")
    summary.add_argument("results_folder", type=Path, metavar="RESULTS", help="results folder of a study")
    pack = _verb(verbs, "pack", _pack, "one self-contained file of a study", "rnnlimits pack results/demo demo.h5")
    pack.add_argument("results_folder", type=Path, metavar="RESULTS", help="results folder of a study")
    pack.add_argument("output", type=Path, metavar="OUTPUT", help="HDF5 file to write")
    for name, act, words in (
        ("validate", _validate, "check files against the format and their digests"),
        ("inspect", _inspect, "a readable tree of an HDF5 file"),
        ("digest", _digest, "digests of contents, whatever the time stamps"),
    ):
        verb = _verb(verbs, name, act, words, f"rnnlimits {name} results/demo/rates.h5")
        verb.add_argument("path", type=Path, metavar="PATH", help="HDF5 file or results folder")


def _looking_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    watch = _verb(verbs, "watch", _watch, "a live view of a study under way", "rnnlimits watch results/demo")
    watch.add_argument("results_folder", type=Path, metavar="RESULTS", help="results folder of a study")
    watch.add_argument("--study", type=Path, metavar="FILE", help="study file (default: RESULTS/study.yaml)")
    watch.add_argument("--every", type=_positive, default=2.0, metavar="SECONDS", help="between looks (default: 2)")
    watch.add_argument("--once", action="store_true", help="one look, as where stdout is not a terminal")
    watch.add_argument("--json", action="store_true", help="one line of JSON for each look")
    words, example = "the same rates of several studies side by side", "rnnlimits compare results/demo results/other"
    compare = _verb(verbs, "compare", _compare, words, example)
    compare.add_argument("results_folders", type=Path, nargs="+", metavar="RESULTS", help="results folder of a study")
    compare.add_argument("--csv", type=Path, metavar="FILE", help="also write the table to this file")
    compare.add_argument("--figure", type=Path, metavar="FILE.svg", help="also draw the exponents with intervals")
    compare.add_argument("--json", action="store_true", help="print JSON in place of the table")


def _rntk_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    words = "the recurrent neural tangent kernel"
    group = verbs.add_parser("rntk", help=words, description=words[0].upper() + words[1:])
    _classify_verb(group.add_subparsers(title="verbs", metavar="VERB", required=True))


def _classify_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    words, example = "it and other kernels on data sets", "rnnlimits rntk classify GunPoint Coffee"
    verb = _verb(verbs, "classify", _classify, words, f"{example}; what follows -- goes to Snakemake")
    verb.add_argument("sets", nargs="*", metavar="DATASET", help="name of a data set (default: all)")
    about = "folder of a UCR or UEA archive, which has NAME/NAME_TRAIN.ts and NAME_TEST.ts (or .tsv)"
    verb.add_argument("--archive", type=Path, metavar="FOLDER", help=f"{about} (default: sets that ship in packages)")
    verb.add_argument("--quick", action="store_true", help="a coarse grid of parameters for every kernel")
    verb.add_argument("--cores", type=_whole, default=None, help="jobs at once (default: all cores)")
    _results_option(verb)
    jobs = verb.add_argument_group("what Snakemake calls")
    jobs.add_argument("--method", metavar="NAME", help="only this kernel on one data set, in this process")
    jobs.add_argument("--part", type=int, metavar="P", help="with --method: only part P of its validation")
    jobs.add_argument("--table", action="store_true", help="only table and figure, from results that are there")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    act: Callable[[argparse.Namespace], None],
    words: str,
    example: str,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:], epilog=f"example: {example}")
    verb.set_defaults(verb=act)
    return verb


def _results_option(
    verb: argparse.ArgumentParser,
    default: Path | None = DEFAULT_RESULTS,
    about: str = f"folder of all results (default: {DEFAULT_RESULTS})",
) -> None:
    verb.add_argument("--results", type=Path, default=default, help=about)


def _backend_option(verb: argparse.ArgumentParser) -> None:
    default = os.environ.get(BACKEND) or "auto"
    verb.add_argument("--backend", default=default, help=f"auto, cuda, host or numpy (default: {default})")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
