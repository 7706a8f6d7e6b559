"""The environments: what a task is, and one environment per file."""
