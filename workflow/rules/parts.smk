# One rule for each part: the draws, the twins of one K, a pack of networks. Another part is another rule, and leaves these
# as they are.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
for PART in PARTS:

    rule:
        name:
            PART.rule
        output:
            PART.outputs,
        log:
            LAYOUT.logs / f"{PART.lock}.log",
        conda:
            ENVIRONMENT
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            **running.part_params(PART),
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits "
            + running.part_command(PART)
            + " --results {params.results:q} --log {log:q}"
