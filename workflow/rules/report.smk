# One page of all results, for a browser.
rule page:
    input:
        LAYOUT.rates_h5,
        LAYOUT.figures,
        ENSEMBLES,
    output:
        report(
            LAYOUT.report,
            caption="../report/page.rst",
            category="Report",
            labels={"what": "everything on one page"},
        ),
    log:
        LAYOUT.logs / "report.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=STUDY_ID,
    shell:
        "python -m rnnlimits report {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
