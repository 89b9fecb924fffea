# One rule for each pack: the cells of one (N, K). Another width is another rule, and leaves these as they are.
# Shards are not declared: Snakemake deletes declared outputs before it reruns a job, and finished shards must survive.
for PACK, CELLS in PACKS.items():

    rule:
        name:
            f"train_{PACK.replace('-', '_')}"
        output:
            [LAYOUT.ensemble(cell) for cell in CELLS],
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
            identity=[(plan.cell_id(STUDY, cell), cell.replicas) for cell in CELLS],
        shell:
            "{resources.mpi} -n {resources.tasks} python -m rnnlimits train {params.study:q} --pack {params.pack}"
            " --results {params.results:q} --log {log:q}"
