rule study:
    output:
        LAYOUT.study_yaml,
    log:
        LAYOUT.logs / "study.log",
    params:
        identity=plan.study_id(STUDY),
    shell:
        "rnnlimits check {STUDY_FILE:q} --resolved {output:q} 2>&1 | tee {log:q}"
