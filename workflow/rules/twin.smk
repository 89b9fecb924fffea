# One rule for each K that has infinite-width twins; the trainings of that K share them.
for TWIN in plan.twins(STUDY):

    rule:
        name:
            f"twin_K{TWIN.steps_per_time:05d}"
        output:
            LAYOUT.twin(TWIN),
        log:
            LAYOUT.logs / f"twin-K{TWIN.steps_per_time:05d}.log",
        conda:
            ENVIRONMENT
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            steps=TWIN.steps_per_time,
            identity=(plan.twin_id(STUDY, TWIN), TWIN.paths),
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits twin {params.study:q} --steps {params.steps}"
            " --results {params.results:q} --log {log:q}"
