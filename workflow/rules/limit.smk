rule limit:
    input:
        LAYOUT.draw,
    output:
        LAYOUT.limit,
    log:
        LAYOUT.logs / "limit.log",
    params:
        identity=plan.limit_id(STUDY),
    shell:
        "rnnlimits limit {STUDY_FILE:q} --results {RESULTS:q} 2>&1 | tee {log:q}"
