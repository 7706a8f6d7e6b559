"""The ledger: each door by which a reward leaves counts once, in whatever process."""
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st

import klrl_envs
from klrl_envs import ledger
from klrl_envs.envs.vector_env import TokenVectorEnv
from klrl_envs.ledger import Account, Book, Counts, Tally, counts, read_ledger
from klrl_envs.optima.certify import certify
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.tasks.base import Prompts, Source
from klrl_envs.tasks.text_task import TextTask
from tests.oracles import random_bigram
from tests.wrappers.wrapped import text_env

GRID = "GridNavigation-v0"
WORDS = ("a", "b", "c", ".")


def text_task(prompts: str = "train") -> TextTask:
    """Prompts "a b", "b a" to train on, "a c", "c a" to be evaluated on; the reward is the share of c."""
    rows = {"train": [[0, 1], [1, 0]], "evaluation": [[0, 2], [2, 0]]}[prompts]
    return TextTask(
        id="Tiny-v0",
        reference=random_bigram(np.random.default_rng(3), 4),
        vocabulary=WordVocabulary(WORDS, 3),
        horizon=4,
        end_token=3,
        kl_coef=0.5,
        reward_range=(0.0, 1.0),
        prompts=Prompts.equal(np.array(rows)),
        reward_fingerprint="0" * 64,
        score_texts=lambda tokens, lengths, texts: (np.array([text.count("c") / 8 for text in texts]), {}),
        source=Source(text_task, {"prompts": prompts}),
    )


def counted(act: Callable[[], Any]) -> dict[tuple[str, ...], tuple[int, ...]]:
    """What the ledger counts while something is done."""
    before = counts()
    act()
    return {tuple(account): tuple(tally) for account, tally in (counts() - before).accounts.items()}


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(list(AutoresetMode)),
    lanes=st.integers(1, 4),
    steps=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_a_vector_environment_counts_actions_of_lanes_that_have_not_ended(mode, lanes, steps, seed):
    task = text_env().unwrapped.task
    rng = np.random.default_rng(seed)
    taken = ended = 0

    def play() -> None:
        nonlocal taken, ended
        env = TokenVectorEnv(task, lanes, autoreset_mode=mode)
        env.reset(seed=seed)
        over = np.zeros(lanes, dtype=bool)
        for _ in range(steps):
            terminated = env.step(rng.integers(0, 5, lanes))[2]
            taken += lanes - int(over.sum())
            ended += int(terminated.sum())
            over = terminated if mode is AutoresetMode.NEXT_STEP else np.zeros(lanes, dtype=bool)
            if mode is AutoresetMode.DISABLED and terminated.any():
                env.reset(options={"reset_mask": terminated})
        assert env.engine.taken == taken

    assert counted(play) == {("exact_task", "none", "training"): (taken, ended)}


def test_a_single_environment_and_its_wrappers_count_each_token_once():
    env = klrl_envs.wrappers.NoisyReward(text_env(), 0.1)

    def play() -> None:
        env.reset(seed=0)
        for action in (1, 2, 0):
            env.step(action)
        env.reset()
        env.step(3)

    assert counted(play) == {("exact_task", "none", "training"): (4, 1)}


def test_stable_baselines_adapter_counts_each_token_once():
    sb3 = pytest.importorskip("klrl_envs.integrations.sb3")
    env = sb3.SB3VecEnv("klrl/GridNavigationFeatures-v0", num_envs=3)
    env.reset()
    steps = counted(lambda: [env.step(np.array([0, 1, 2])) for _ in range(7)])
    assert steps[(GRID, "none", "training")][0] == 21


def test_the_trainers_reward_function_counts_completions_as_episodes():
    task = klrl_envs.make_task("Keywords-v0")
    reward = klrl_envs.as_reward_fn("klrl/Keywords-v0")
    word = task.vocabulary.token_string(5)
    completions = [word, " ".join([word] * 100), "notaword"]
    spent = counted(lambda: reward([""] * 3, completions))
    assert spent == {("Keywords-v0", "none", "training"): (2 + task.horizon + task.horizon, 3)}
    assert counted(lambda: reward([], [])) == {}


def test_every_door_of_a_text_task_counts_once():
    task = text_task()
    tokens = np.array([[0, 1, 2, 2, 3, 3], [1, 0, 2, 2, 2, 2]])
    lengths = np.array([5, 6])
    texts = ["a b c c", "b a c c c c"]
    expected = {("Tiny-v0", "train", "training"): (7, 2)}
    assert counted(lambda: task.text_rewards(["a b ", "b a "], ["c c", "c c c c c c"])) == expected
    assert counted(lambda: task.score(tokens, lengths)) == expected
    assert counted(lambda: task.score_texts(tokens, lengths, texts)) == expected
    engine = klrl_envs.Engine(task, 2)
    engine.seed_lanes(np.random.default_rng(0))

    def play() -> None:
        engine.reset(np.arange(2), np.array([0, 1]))
        for column in tokens[:, 2:].T:
            engine.step(column, ~engine.done)

    assert counted(play) == expected and engine.taken == 7


def test_a_task_that_is_made_again_counts_once():
    task = text_task()
    again = task.source.task()
    spent = counted(
        lambda: again.without_noise().score_texts(np.array([[0, 1, 2]]), np.array([3]), ["a b c"])
    )
    assert spent == {("Tiny-v0", "train", "training"): (1, 1)}


def test_evaluation_prompts_are_known_wherever_they_are_rewarded():
    """Also as text before a completion, on the task of the training prompts."""
    task, other = text_task(), text_task("evaluation")
    before = counts()
    task.text_rewards(["a b ", "a c ", ""], ["c", "c", "a c c"])
    other.text_rewards(["a c "], ["c"])
    found = counts() - before
    assert found.misplaced == 3
    assert found.total(split="train") == Tally(2, 1)
    assert found.tokens == 2 + 2 + 4 + 2


def test_evaluate_counts_apart_and_certificates_too(tmp_path: Path):
    evaluated = counted(lambda: klrl_envs.evaluate("reference", "klrl/Arithmetic-v0", episodes=64))
    ((account, (tokens, texts)),) = evaluated.items()
    assert account == ("Arithmetic-v0", "evaluation", "evaluation") and tokens > texts >= 64
    made = counted(
        lambda: certify(text_task("evaluation"), samples_per_prompt=2, out=tmp_path / "x.safetensors")
    )
    assert set(made) == {("Tiny-v0", "evaluation", "certify")}
    with pytest.raises(ValueError, match="purpose must be one of"), ledger.counting_as("play"):
        pass
    with pytest.raises(ValueError, match="episodes must be"):
        klrl_envs.evaluate("reference", "klrl/Arithmetic-v0", episodes=0)
    (account,) = counted(lambda: klrl_envs.make_task("Keywords-v0").text_rewards([""], [""]))
    assert account[2] == "training", "an evaluation that failed leaves nothing behind"


class Searching:
    """Writes 4 texts for each that it hands over, and takes the one that pays most."""

    def __init__(self, task: Any) -> None:
        self.task = task

    def sample(self, prompts: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        drawn = rng.integers(1, self.task.vocab_size, size=(len(prompts), 4, self.task.horizon))
        texts = [self.task.vocabulary.decode(row.tolist()) for row in drawn.reshape(-1, self.task.horizon)]
        rewards = self.task.text_rewards([""] * len(texts), texts).reshape(len(prompts), 4)
        best = drawn[np.arange(len(prompts)), rewards.argmax(axis=1)]
        return best, np.full(len(prompts), -self.task.horizon * np.log(self.task.vocab_size))


def test_a_search_while_a_policy_is_evaluated_is_in_its_budget():
    task = klrl_envs.evaluation_task("klrl/DiagnosticModes-v0")
    before = counts()
    klrl_envs.evaluate(Searching(task), "klrl/DiagnosticModes-v0", episodes=16)
    found = counts() - before
    assert found.total(purpose="search").texts == 4 * 16
    assert found.tokens == found.total(purpose="search").tokens >= 4 * 16 * task.horizon
    assert found.misplaced == 0 and found.total(purpose="evaluation").texts == 16


def test_counts_add_and_subtract():
    one, other = Account("a", "none", "training"), Account("a", "train", "evaluation")
    first = Counts({one: Tally(5, 1)})
    both = Counts({one: Tally(7, 2), other: Tally(3, 1)})
    assert both - first == Counts({one: Tally(2, 1), other: Tally(3, 1)})
    assert first - first == Counts()
    assert both.tokens == 7 and both.total() == Tally(10, 3) and both.misplaced == 0


def test_threads_lose_nothing():
    book = Book()
    threads = [
        threading.Thread(target=lambda: [book.count("a", "none", 2, 1) for _ in range(3000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.counts().total() == Tally(24_000, 12_000)


def test_books_share_a_file(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    books = [Book(str(path)) for _ in range(3)]
    for turn in range(200):
        for place, book in enumerate(books):
            book.count(f"task {turn % 40}", "none", place + 1, turn % 2)
    assert read_ledger(path).total() == Tally(1200, 300)
    assert len(path.read_text().splitlines()) == 120, "a line for each book and account"
    assert read_ledger(tmp_path / "none.jsonl") == Counts()
    path.write_text('{"task": "a"}\n')
    with pytest.raises(ValueError, match="line 1: no count of a ledger"):
        read_ledger(path)


PLAY = """
import sys, os, signal, gymnasium as gym, numpy as np, klrl_envs
def play(steps):
    env = klrl_envs.exact_task(klrl_envs.UniformReference(3), klrl_envs.RewardAutomaton(
        np.zeros((1, 3), dtype=int), np.ones((1, 3))), horizon=5, kl_coef=1.0)
    env.reset(seed=0)
    for step in range(steps):
        if env.step(0)[2]:
            env.reset()
"""


def ran(code: str, path: Path, *, code_wanted: int = 0) -> Counts:
    """The ledger of a program that plays."""
    environment: Mapping[str, str] = {**os.environ, "KLRL_LEDGER": str(path)}
    script = path.with_name("program.py")
    script.write_text(PLAY + code)
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == code_wanted, done.stderr
    return read_ledger(path)


def test_a_process_that_is_killed_loses_nothing(tmp_path: Path):
    found = ran("play(57); os.kill(os.getpid(), signal.SIGKILL)", tmp_path / "l", code_wanted=-signal.SIGKILL)
    assert found == Counts({Account("exact_task", "none", "training"): Tally(57, 11)})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_for_itself(tmp_path: Path):
    code = """
play(10)
child = os.fork()
if not child:
    play(7)
    own = klrl_envs.ledger.book().counts().tokens
    os._exit(0 if own == 7 else 1)
assert os.waitpid(child, 0)[1] == 0
play(3)
assert klrl_envs.ledger.book().counts().tokens == 13 and klrl_envs.ledger.counts().tokens == 20
"""
    assert ran(code, tmp_path / "l").total() == Tally(20, 3)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_processes_of_vector_environments_are_counted(tmp_path: Path, method: str):
    """The children are never closed: what ends them comes too suddenly for any clean-up."""
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} is not there")
    code = f"""
if __name__ == "__main__":
    env = gym.make_vec("klrl/{GRID}", 2, "async", vector_kwargs=dict(context="{method}"))
    env.reset(seed=0)
    for step in range(9):
        env.step(np.zeros(2, dtype=int))
    for process in env.processes:
        process.kill()
    os._exit(0)
"""
    found = ran(code, tmp_path / "l")
    assert found.tokens == 18 and len((tmp_path / "l").read_text().splitlines()) == 2


def test_without_the_variable_there_is_no_file(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "KLRL_LEDGER"}
    code = (
        PLAY + "play(4); assert klrl_envs.ledger.book().path is None; print(klrl_envs.ledger.counts().tokens)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "4\n" and not list(tmp_path.iterdir())


def test_the_single_environment_of_gymnasium_is_counted_through_its_wrappers():
    env: Any = gym.make(f"klrl/{GRID}")
    env.reset(seed=0)
    assert counted(lambda: env.step(0)) == {(GRID, "none", "training"): (1, 0)}


def test_a_ledger_needs_its_folder_and_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"KLRL_LEDGER names .*none"):
        Book(str(tmp_path / "none" / "ledger.jsonl"))
    monkeypatch.chdir(tmp_path)
    book = Book("ledger.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    book.count("a", "none", 1, 0)
    assert read_ledger(tmp_path / "ledger.jsonl").tokens == 1
