# A study of the recurrent NTK: one rule for each pack (the networks of one kind and width), then rates and figures.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
for PACK, CELLS in PACKS.items():

    rule:
        name:
            f"train_{PACK.replace('-', '_')}"
        output:
            [LAYOUT.networks(cell) for cell in CELLS],
        log:
            LAYOUT.logs / f"train-{PACK}.log",
        conda:
            ENVIRONMENT
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        params:
            study=lambda wildcards: STUDY_FILE,
            results=lambda wildcards: RESULTS,
            pack=PACK,
            identity=[(rntk_plan.cell_id(STUDY, cell), cell.replicas) for cell in CELLS],
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits train {params.study:q} --pack {params.pack}"
            " --results {params.results:q} --log {log:q}"


rule rates:
    input:
        ENSEMBLES,
    output:
        LAYOUT.kernels,
        LAYOUT.rates_h5,
        RATES_TABLE,
    log:
        LAYOUT.logs / "rates.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=STUDY_ID,
    shell:
        "python -m rnnlimits rates {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"


rule figures:
    input:
        LAYOUT.rates_h5,
    output:
        FIGURES,
        LAYOUT.weights_csv,
    log:
        LAYOUT.logs / "figures.log",
    conda:
        ENVIRONMENT
    params:
        study=lambda wildcards: STUDY_FILE,
        results=lambda wildcards: RESULTS,
        identity=STUDY_ID,
    shell:
        "python -m rnnlimits figures {params.study:q} --results {params.results:q} 2>&1 | tee {log:q}"
