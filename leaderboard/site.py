"""The whole board: index.html, a page an entry and an environment, the rules, and all of it to download."""

from __future__ import annotations

from pathlib import Path

from klrl_envs.registry import REGISTRY
from klrl_envs.results.document import write_atomically
from klrl_envs.results.entry import file_id, file_stem
from leaderboard.board import Board, entry_page, environment_page
from leaderboard.downloads import csv_text, json_text
from leaderboard.entry_page import entry_text
from leaderboard.environment_page import environment_text
from leaderboard.folder import FOLDER
from leaderboard.page import page_text
from leaderboard.render import markdown_html, render


def site_files(board: Board) -> dict[str, str]:
    """Every file of the site, by its path."""
    rules = (FOLDER / "RULES.md").read_text(encoding="utf-8")
    files = {
        "index.html": page_text(board),
        "rules.html": render("text.html.jinja", title="Rules", up="", html=markdown_html(rules)),
        "board.csv": csv_text(board.entries),
        "board.json": json_text(board.entries),
    }
    for entry in board.entries:
        files[entry_page(entry)] = entry_text(board, entry)
        files[f"entries/{file_stem(entry.env_id, entry.agent.name)}.json"] = entry.to_json()
    for row in REGISTRY:
        files[environment_page(row.gym_id)] = environment_text(board, row)
        if row.gym_id in board.cards:
            files[f"environments/{file_id(row.gym_id)}.json"] = board.cards[row.gym_id].to_json()
    return files


def write_site(board: Board, folder: Path) -> None:
    """Write every file of the site."""
    for name, text in site_files(board).items():
        write_atomically(folder / name, text)
