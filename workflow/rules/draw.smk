rule draw:
    output:
        LAYOUT.draw,
    log:
        LAYOUT.logs / "draw.log",
    conda:
        ENVIRONMENT
    threads: 1024
    resources:
        mpi="mpiexec",
        tasks=lambda wildcards, threads: threads,
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=plan.draw_id(STUDY),
    shell:
        "{resources.mpi} -n {resources.tasks} python -m rnnlimits draw {params.study:q} --results {params.results:q} --log {log:q}"
