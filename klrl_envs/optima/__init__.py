"""Optima of KL-regularised tasks: exact by soft dynamic programming, or certified by sampling."""
