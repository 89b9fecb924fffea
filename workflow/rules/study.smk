rule study:
    output:
        LAYOUT.study_yaml,
    log:
        LAYOUT.logs / "study.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        identity=plan.study_id(STUDY),
    shell:
        "python -m pipeline check {params.study:q} --resolved {output:q} > {log:q}"
