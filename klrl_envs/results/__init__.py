"""Results of runs: the one record, the runner and its suites, the capability report."""
