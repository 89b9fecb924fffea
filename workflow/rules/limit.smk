rule limit:
    input:
        LAYOUT.draw,
    output:
        LAYOUT.limit,
    log:
        LAYOUT.logs / "limit.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=plan.limit_id(STUDY),
    shell:
        "python -m rnnlimits limit {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
