"""Where the losses of today's trainers lead, by `klrl_envs.signals`: TRL's own code, published formulas."""
