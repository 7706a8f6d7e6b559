"""How each shipped asset was made, from the reviews to the file: ``python -m klrl_envs.assets.build --help``."""
