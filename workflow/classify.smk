# The recurrent NTK and other kernels on data sets:
#   snakemake --snakefile workflow/classify.smk --config sets=GunPoint,Coffee --cores all
# `rnnlimits rntk classify` is this. config: sets (default: all), archive (folder), results, quick (true or false).
#
# A job for each data set and method; long grids are cut into parts. Every file is named by what changes it, so that
# another set or grid adds its own jobs and leaves all others as they are.
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

sys.path.insert(0, str(Path(str(workflow.current_basedir)).parent / "src"))

from rnnlimits.run import environment, shipped, words, workflow as running
from rnnlimits.base.errors import StudyError

try:
    from rnnlimits.classify import table as report
    from rnnlimits.classify.comparison import Wanted

    RESULTS = running.relative_results(words.decoded(config.get("results", "results")))
    WANTED = Wanted(
        tuple(filter(None, words.decoded(config.get("sets", "")).split(","))),
        Path(words.decoded(config["archive"])) if config.get("archive") else None,
        Path(RESULTS),
        str(config.get("quick", "")).lower() in ("true", "1"),
    )
    JOBS = WANTED.jobs()
except StudyError as error:
    sys.exit(f"rnnlimits: {error}")

os.environ.update(environment.additions(os.environ))

ENVIRONMENT = str(shipped.ENVIRONMENT)
OPTIONS = ["--results", RESULTS]
OPTIONS += ["--archive", str(WANTED.archive)] if WANTED.archive else []
OPTIONS += ["--quick"] if WANTED.quick else []
COMMAND = "python -m rnnlimits rntk classify {params.sets:q} {params.options:q}"


rule all:
    input:
        list(report.paths(Path(RESULTS)).values()),
        [job.result for job in JOBS],
    localrule: True


rule table:
    input:
        [job.result for job in JOBS],
    output:
        list(report.paths(Path(RESULTS)).values()),
    conda:
        ENVIRONMENT
    params:
        sets=list(WANTED.names),
        options=OPTIONS,
    shell:
        COMMAND + " --table > /dev/null"


for NUMBER, JOB in enumerate(JOBS):

    rule:
        name:
            f"score_{NUMBER}"
        input:
            JOB.part_paths,
        output:
            JOB.result,
        priority: len(JOBS) - NUMBER
        conda:
            ENVIRONMENT
        params:
            sets=JOB.data.name,
            options=[*OPTIONS, "--method", JOB.method.name],
        shell:
            COMMAND

    for PART, PATH in enumerate(JOB.part_paths):

        rule:
            name:
                f"validate_{NUMBER}_{PART}"
            output:
                PATH,
            priority: len(JOBS) - NUMBER
            conda:
                ENVIRONMENT
            params:
                sets=JOB.data.name,
                options=[
                    *OPTIONS,
                    "--method",
                    JOB.method.name,
                    "--part",
                    PART,
                ],
            shell:
                COMMAND
