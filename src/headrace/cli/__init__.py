"""The command line: one file per verb. Results on standard output, everything else on standard error."""
