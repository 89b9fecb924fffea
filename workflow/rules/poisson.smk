rule poisson:
    input:
        LAYOUT.draw,
    output:
        LAYOUT.poisson,
    log:
        LAYOUT.logs / "poisson.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=plan.limit_id(STUDY),
    shell:
        "python -m rnnlimits poisson {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
