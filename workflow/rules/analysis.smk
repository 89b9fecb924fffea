# On a cluster: the serial stages one after the other in one job. Each takes seconds to minutes, a job of its own would
# take longer to start.
rule analysis:
    input:
        IN_PARALLEL,
    output:
        FURTHER,
        LAYOUT.rates_h5,
        RATES_TABLE,
        FIGURES,
        report(
            LAYOUT.report,
            caption="../report/page.rst",
            category="Report",
            labels={"what": "everything on one page"},
        ),
    log:
        LAYOUT.logs / "analysis.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **submission.analysis_resources(STUDY, SITE),
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=STUDY_ID,
        stages=list(SERIAL),
    shell:
        "for stage in {params.stages}; do"
        " python -m rnnlimits $stage {params.study:q} --results {params.results:q} || exit; done 2>&1 | tee {log:q}"
