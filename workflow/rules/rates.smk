rule rates:
    input:
        LAYOUT.draw,
        LAYOUT.limit,
        LAYOUT.poisson,
        ENSEMBLES,
        TWINS,
    output:
        LAYOUT.rates_h5,
        RATES_TABLE,
    log:
        LAYOUT.logs / "rates.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=plan.study_id(STUDY),
    shell:
        "python -m rnnlimits rates {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
