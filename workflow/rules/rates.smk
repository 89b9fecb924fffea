rule rates:
    input:
        LAYOUT.draw,
        LAYOUT.limit,
        ENSEMBLES,
    output:
        LAYOUT.rates_h5,
        LAYOUT.rates_csv,
    log:
        LAYOUT.logs / "rates.log",
    params:
        identity=plan.study_id(STUDY),
    shell:
        "rnnlimits rates {STUDY_FILE:q} --results {RESULTS:q} 2>&1 | tee {log:q}"
