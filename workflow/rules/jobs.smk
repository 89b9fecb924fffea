# On a cluster: one rule for each job, which runs several parts of the study by one start of its ranks. Small parts share
# a job, large ones get more ranks. `rnnlimits plan STUDY --cluster` prints them.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
for JOB in jobs(EXPERIMENT, SITE):

    rule:
        name:
            submission.rule_name(JOB)
        output:
            JOB.outputs,
        log:
            LAYOUT.logs / f"{JOB.name}.log",
        conda:
            ENVIRONMENT
        threads: SITE.cores_per_rank
        resources:
            **submission.resources(JOB, SITE),
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            launch=lambda wildcards, job=JOB: submission.launcher(job, SITE),
            parts=[part.name for part in JOB.parts],
        shell:
            "{params.launch}python -m rnnlimits work {params.study:q} {params.parts:q}"
            " --results {params.results:q} --log {log:q}"


# The steps one after the other in one job. Each takes seconds to minutes, a job of its own would take longer to start.
rule analysis:
    input:
        [
            path if DUE.intersection(DECLARED) else ancient(path)
            for part in PARTS
            for path in part.outputs
        ],
    output:
        list(DECLARED.values()),
    log:
        LAYOUT.logs / "analysis.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **submission.analysis_resources(EXPERIMENT, SITE),
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        stages=[step.name for step in STEPS],
    shell:
        "for stage in {params.stages}; do"
        " python -m rnnlimits $stage {params.study:q} --results {params.results:q} || exit; done 2>&1 | tee {log:q} >&2"
