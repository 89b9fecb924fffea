# First of all: whoever watches the run learns from it what is planned.
rule study:
    output:
        LAYOUT.study_yaml,
    log:
        LAYOUT.logs / "study.log",
    priority: 1
    localrule: True
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
    shell:
        "python -m rnnlimits check {params.study:q} --resolved {output:q} > {log:q}"
