"""Policies as files: what maps an observation or a state to rows of log-probs, saved and loaded as data.

Training adds to these networks what it needs (a critic, the writing of episodes) and saves this part. Torch
is imported only where a network of it is asked for.
"""
