"""Jobs of a Slurm cluster: sites, submission, what a killed run left behind."""
