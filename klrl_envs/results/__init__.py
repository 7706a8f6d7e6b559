"""Results of runs: the record and its writer, the runner of suites, entries of the leaderboard, the report.

Agents need ``write_result``; who reads what they wrote needs ``RunRecord.load``.
"""

from klrl_envs.results.entry import Entry, load_entries
from klrl_envs.results.record import Agent, ComparisonRecord, Hardware, RunRecord, Versions
from klrl_envs.results.write import write_result

__all__ = [
    "Agent",
    "ComparisonRecord",
    "Entry",
    "Hardware",
    "RunRecord",
    "Versions",
    "load_entries",
    "write_result",
]
