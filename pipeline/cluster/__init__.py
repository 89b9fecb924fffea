"""A study as jobs of a cluster: what it offers (site), what there is to do (parts), the jobs, their submission."""
