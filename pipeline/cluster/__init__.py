"""A study as jobs of a cluster: what a site offers (site), how work becomes jobs (jobs), what is submitted."""
