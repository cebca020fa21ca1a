"""HTTP: one file per resource. Resources turn requests into calls of the stages and nothing else."""
