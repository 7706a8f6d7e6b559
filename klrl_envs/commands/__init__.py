"""What the commands of `klrl` do; `klrl_envs.cli` has their options and help."""
