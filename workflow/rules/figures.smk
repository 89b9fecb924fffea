rule figures:
    input:
        LAYOUT.rates_h5,
        LAYOUT.limit,
        ENSEMBLES,
    output:
        FIGURES,
    log:
        LAYOUT.logs / "figures.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=plan.study_id(STUDY),
    shell:
        "python -m rnnlimits figures {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
