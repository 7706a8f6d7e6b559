"""``python -m klrl_envs.cli``: the command where no script is installed."""

from klrl_envs.cli.app import main

main()
