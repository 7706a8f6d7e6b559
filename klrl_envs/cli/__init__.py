"""The command `klrl`: list, show, solve, play, evaluate, report, certify, fetch."""
