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
        params:
            pack=PACK,
            identity=[(plan.cell_id(STUDY, cell), cell.replicas) for cell in CELLS],
        threads: 1024
        resources:
            mpi="mpiexec",
            tasks=lambda wildcards, threads: threads,
        shell:
            "{resources.mpi} -n {resources.tasks} rnnlimits train {STUDY_FILE:q} --pack {params.pack}"
            " --results {RESULTS:q} --log {log:q}"
