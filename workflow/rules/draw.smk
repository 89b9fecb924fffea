rule draw:
    output:
        LAYOUT.draw,
    log:
        LAYOUT.logs / "draw.log",
    params:
        identity=plan.draw_id(STUDY),
    threads: 1024
    resources:
        mpi="mpiexec",
        tasks=lambda wildcards, threads: threads,
    shell:
        "{resources.mpi} -n {resources.tasks} rnnlimits draw {STUDY_FILE:q} --results {RESULTS:q} --log {log:q}"
