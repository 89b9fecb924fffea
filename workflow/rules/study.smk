rule study:
    output:
        LAYOUT.study_yaml,
    log:
        LAYOUT.logs / "study.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        identity=STUDY_ID,
    shell:
        "python -m pipeline check {params.study:q} --resolved {output:q} > {log:q}"
