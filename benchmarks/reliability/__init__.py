"""What the suite promises beside its numbers, put to the test: the same again, nothing lost, nothing torn."""
