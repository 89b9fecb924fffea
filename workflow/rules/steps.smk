# One rule for each step: work of one process that reads what parts and earlier steps have left.
for STEP in STEPS:

    rule:
        name:
            STEP.rule or STEP.name
        input:
            STEP.inputs,
        output:
            [declared(output) for output in STEP.outputs],
        log:
            LAYOUT.logs / f"{STEP.name}.log",
        conda:
            ENVIRONMENT
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            identity=STEP.identity,
        shell:
            f"python -m rnnlimits {STEP.name}"
            " {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
