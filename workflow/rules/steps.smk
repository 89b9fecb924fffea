# One rule for each step: work of one process that reads what parts and earlier steps have left.
# Its name is that of its log, for the reason given in parts.smk.
for STEP in STEPS:
    if STEP in IN_ONE:
        continue

    log = LAYOUT.logs / f"{STEP.name}.log"

    rule:
        name:
            STEP.rule or STEP.name
        input:
            STEP.inputs
            if DUE.intersection(STEP.paths)
            else [ancient(path) for path in STEP.inputs],
        output:
            [DECLARED[path] for path in STEP.paths],
        log:
            log,
        conda:
            ENVIRONMENT
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
        shell:
            "python -m rnnlimits "
            + Path(str(log)).stem
            + " {params.study:q} --results {params.results:q} 2>&1 | tee {log:q} >&2"


if IN_ONE:

    # All due, and none an input of a step that is not: such a step would be due too.
    MADE = {path for step in IN_ONE for path in step.paths}

    rule steps:
        input:
            [path for step in IN_ONE for path in step.inputs if path not in MADE],
        output:
            [DECLARED[path] for step in IN_ONE for path in step.paths],
        log:
            LAYOUT.logs / "steps.log",
        conda:
            ENVIRONMENT
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            steps=[step.name for step in IN_ONE],
        shell:
            "python -m rnnlimits steps {params.study:q} {params.steps:q}"
            " --results {params.results:q} 2>&1 | tee {log:q} >&2"
