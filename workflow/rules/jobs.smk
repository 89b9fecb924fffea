# On a cluster: one rule for each job, which runs several parts of the study by one start of its ranks. Small parts share
# a job, large ones get more ranks. `rnnlimits plan STUDY --cluster` prints them.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
for JOB in jobs(STUDY, LAYOUT, SITE):

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
            identity=[part.identity for part in JOB.parts],
        shell:
            "{params.launch}python -m rnnlimits work {params.study:q} {params.parts:q}"
            " --results {params.results:q} --log {log:q}"
