"""How each shipped asset was made, from its source to the file: ``python -m klrl_envs.assets.build -h``."""
