"""How fast the environments are, as ratios against other people's code in the same run."""
