# One rule for each part: the draws, the twins of one K, a pack of networks. Another part is another rule, and leaves these
# as they are.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
# What follows `shell:` is evaluated here, and once more when a job runs. There only what belongs to the job still has its
# value, such as its log, and no variable of the loop.
COMMANDS = {part.lock: commands.part_command(part) for part in PARTS}

for PART in PARTS:
    if PART in TOGETHER:
        continue

    log = LAYOUT.logs / f"{PART.lock}.log"

    rule:
        name:
            PART.rule
        output:
            PART.outputs,
        log:
            log,
        conda:
            ENVIRONMENT
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        params:
            **commands.part_params(PART),
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits "
            + COMMANDS[Path(str(log)).stem]
            + " --results {params.results:q} --log {log:q}"


if TOGETHER:

    rule parts:
        output:
            [path for part in TOGETHER for path in part.outputs],
        log:
            LAYOUT.logs / "parts.log",
        conda:
            ENVIRONMENT
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            parts=[part.name for part in TOGETHER],
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits work {params.study:q} {params.parts:q}"
            " --results {params.results:q} --log {log:q}"
