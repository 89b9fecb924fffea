"""Running a study: Snakemake, stages by name, what ships, doctor."""
