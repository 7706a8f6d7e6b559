"""The agents: what they learn on tasks with a known answer, determinism, and unbiased gradients."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import klrl_envs
from agents.networks.episodes import ResidualScores, divergence, draw, make_engine
from agents.networks.heads import TextEvidence, TextPolicy
from agents.networks.residual import ResidualPolicy, for_evaluation, load_policy, make_policy
from agents.ppo import DEFAULTS, PPO, PPOArguments, advantages_of
from agents.ppo import train as train_ppo
from agents.q_learning import QArguments
from agents.q_learning import train as train_q_learning
from agents.reinforce import ReinforceArguments, leave_one_out
from agents.reinforce import train as train_reinforce
from agents.run import Arguments, command_of, field_docstrings, learning_rate, settings_of
from klrl_envs.envs.engine import Engine
from klrl_envs.evaluation.rollout import roll_out
from klrl_envs.optima.dynamic_programme import solve
from klrl_envs.registry import make_task
from klrl_envs.results.schema import load_result
from klrl_envs.tasks.base import AutomatonTask, Prompts

ROOT = Path(__file__).resolve().parents[2]
AGENTS = ("reference", "posterior", "q_learning", "reinforce", "ppo", "sb3_ppo", "demo")
SMALL_GRID = {"size": 4, "horizon": 12}


def tiny_task() -> AutomatonTask:
    """Three tokens, two steps; the reward counts token 2, and token 0 ends the text."""
    reference = klrl_envs.BigramReference(
        np.log([0.2, 0.5, 0.3]), np.log([[0.3, 0.4, 0.3], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]])
    )
    automaton = klrl_envs.RewardAutomaton(
        np.array([[0, 0, 1], [1, 1, 2], [2, 2, 2]]), final_reward=np.array([0.0, 0.5, 1.0])
    )
    env = klrl_envs.exact_task(reference, automaton, horizon=2, kl_coef=0.5, end_token=0)
    return env.unwrapped.task  # type: ignore[return-value]


def tilted_policy(task: AutomatonTask) -> ResidualPolicy:
    """A policy away from the reference."""
    torch.manual_seed(3)
    policy = ResidualPolicy(task, width=8)
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.5)  # type: ignore[arg-type]
    return policy


def exact_objective(policy: ResidualPolicy, task: AutomatonTask) -> torch.Tensor:
    """J / kl_coef of a policy by enumeration of every text, differentiable."""
    total = torch.zeros(())
    for text in itertools.product(range(3), repeat=2):
        written = text[:1] if text[0] == 0 else text
        if len(written) == 1 and text[1] != 0:
            continue
        engine = Engine(task, 1)
        engine.seed(0, np.random.default_rng(0))
        engine.reset(np.zeros(1, dtype=np.int64))
        log_pi, log_pi0, reward = torch.zeros(()), 0.0, 0.0
        for token in written:
            features = torch.from_numpy(observe(task, engine))
            log_pi = log_pi + policy(features)[0, token]
            result = engine.step(np.array([token]))
            log_pi0 += float(result.reference_log_prob[0])  # type: ignore[index]
            reward += float(result.reward[0])
        total = total + log_pi.exp() * (reward / task.kl_coef - (log_pi - log_pi0))
    return total


def observe(task: AutomatonTask, engine: Engine) -> Any:
    from klrl_envs.envs.observation import observer_of

    return observer_of(task, features=True).observe(engine)


def gradient_of(policy: ResidualPolicy) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in policy.actor.parameters()])  # type: ignore[union-attr]


def test_reinforce_gradient_is_unbiased() -> None:
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    batch, group = 4096, 4
    engine = make_engine(task, batch, 0)
    generator = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(12):
        episodes = policy.write(engine, np.zeros(batch, dtype=np.int64), generator)
        paid = episodes.paid(task.kl_coef)
        advantages = leave_one_out(paid.flip(1).cumsum(1).flip(1), episodes.mask, group)
        policy.zero_grad()
        log_probs, _ = policy.scores(episodes, torch.arange(batch))
        ((advantages * log_probs).sum() / batch).backward()
        estimates.append(gradient_of(policy))
    mean, error = torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def ppo_gradient(ppo: PPO, weights: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean gradient of the loss before the first step, over 12 batches, and its standard error."""
    estimates = []
    for _ in range(12):
        episodes = ppo.write()
        advantages, _ = ppo.estimates(episodes)
        loss, _ = ppo.loss(episodes, torch.arange(len(episodes.mask)), advantages)
        gradients = torch.autograd.grad(loss, weights)
        estimates.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(estimates).mean(0), torch.stack(estimates).std(0) / 12**0.5


def test_ppo_gradient_is_unbiased_at_the_first_step() -> None:
    """The exact KL in the return and its analytic gradient make the objective's gradient together."""
    task = tiny_task()
    policy = tilted_policy(task)
    exact_objective(policy, task).backward()
    exact = gradient_of(policy)
    args = PPOArguments(batch=4096, minibatch=4096, gae_lambda=1.0)
    ppo = PPO(args, task, settings_of(args, ["exact"], DEFAULTS), torch.device("cpu"))
    ppo.policy = policy
    mean, error = ppo_gradient(ppo, list(policy.actor.parameters()))
    mean = -mean  # of the loss, which is -J / kl_coef
    assert ((mean - exact).abs() < 5 * error + 1e-5).all()
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.999


def test_advantages_are_the_full_return_at_lambda_one_and_one_step_at_zero() -> None:
    paid = torch.tensor([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    values = torch.tensor([[0.5, 1.0, 1.5], [0.1, 0.2, 9.0]])
    full = advantages_of(paid, values, mask, 1.0)
    expected = torch.tensor([[6 - 0.5, 5 - 1.0, 3 - 1.5], [6 - 0.1, 5 - 0.2, 0.0]])
    torch.testing.assert_close(full, expected)
    one_step = advantages_of(paid, values, mask, 0.0)
    torch.testing.assert_close(one_step[0], torch.tensor([1 + 1.0 - 0.5, 2 + 1.5 - 1.0, 3 - 1.5]))


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
def test_no_policy_gradient_at_the_optimum(gae_lambda: float) -> None:
    """At pi* advantages and the gradient of the KL cancel for every lambda: the critic is right there."""
    task = tiny_task()
    solution = solve(task.reference, task.automaton, horizon=2, end_token=0, kl_coef=task.kl_coef)
    args = PPOArguments(batch=4096, minibatch=4096, gae_lambda=gae_lambda)
    ppo = PPO(args, task, settings_of(args, ["exact"], DEFAULTS), torch.device("cpu"))
    table = OptimalResidual(task, solution)
    ppo.policy.actor = table  # type: ignore[assignment]
    mean, error = ppo_gradient(ppo, [table.table])
    assert (mean.abs() < 5 * error + 1e-6).all()


class OptimalResidual(torch.nn.Module):
    """What each token leads to at the optimum, nats, as a table [time, state, token]: a ``ResidualPolicy``
    whose f it is has logits log pi0 + f and the value log sum exp(logits).
    """

    def __init__(self, task: AutomatonTask, solution: Any) -> None:
        super().__init__()
        self.states = torch.from_numpy(task.state_features)
        horizon, states = task.horizon, len(self.states)
        # NaN where no text leads: to read it there would spoil every gradient
        table = torch.full((horizon, states, task.vocab_size), torch.nan)
        for time, reached in enumerate(solution.problem.reached):
            at = np.zeros_like(reached), reached, np.full_like(reached, time)
            value = solution.values(*at)[:, None] / task.kl_coef
            residual = solution.log_probs(*at) - task.reference.rows(np.zeros(1, dtype=np.int64)) + value
            table[time, reached] = torch.from_numpy(residual).float()
        self.table = torch.nn.Parameter(table)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = self.states.shape[1]
        state = (inputs[..., None, :features] - self.states).abs().sum(-1).argmin(-1)
        return self.table[((1 - inputs[..., features]) * len(self.table)).round().long(), state]


def test_advantages_vanish_at_the_optimum() -> None:
    """With pi* and its critic every step is worth what was expected (path consistency)."""
    task = tiny_task()
    solution = solve(task.reference, task.automaton, horizon=2, end_token=0, kl_coef=task.kl_coef)
    engine = Engine(task, 256)
    rng = np.random.default_rng(0)
    for lane in range(256):
        engine.seed(lane, rng)
    engine.reset(np.arange(256))
    columns = []
    while not engine.done.all():
        active = ~engine.done
        states = engine.context, engine.state, np.minimum(engine.time, 1)
        rows = torch.from_numpy(solution.log_probs(*states))
        tokens, log_prob = draw(rows, torch.Generator().manual_seed(len(columns)))
        value = solution.values(*states) / task.kl_coef
        result: Any = engine.step(tokens.numpy(), active)
        paid = (
            result.reward / task.kl_coef - np.where(active, log_prob.numpy(), 0) + result.reference_log_prob
        )
        columns.append((paid, value, active))
    paid, values, mask = (torch.from_numpy(np.stack(parts, 1)) for parts in zip(*columns))
    for gae_lambda in (0.0, 0.95, 1.0):
        assert advantages_of(paid, values, mask, gae_lambda).abs().max() < 1e-9


def test_a_policy_starts_at_the_reference() -> None:
    for env_id in ("GridNavigation-v0", "Keywords-v0", "Sentiment-v0"):
        task = make_task(env_id)
        policy = make_policy(task)
        engine = make_engine(task, 16, 0)
        episodes = policy.write(engine, np.zeros(16, dtype=np.int64), torch.Generator().manual_seed(0))
        assert episodes.log_ratios.abs().max() < 1e-5
        scored, features = for_evaluation(policy, task)
        assert roll_out(scored, task, episodes=16, seed=0, features=features).kl.max() < 1e-5  # type: ignore


def test_episodes_are_those_of_the_environment() -> None:
    task = make_task("GridNavigation-v0", **SMALL_GRID)
    policy = tilted_policy(task)  # type: ignore[arg-type]
    engine = make_engine(task, 64, 0)
    episodes = policy.write(engine, np.zeros(64, dtype=np.int64), torch.Generator().manual_seed(0))
    assert episodes.steps == engine.time.sum()
    np.testing.assert_array_equal(episodes.mask.sum(1).numpy(), engine.time)
    nats = (episodes.log_probs - episodes.log_ratios).sum(1).numpy()
    np.testing.assert_allclose(nats, engine.reference_nats, rtol=1e-5)
    log_probs, _ = policy.scores(episodes, torch.arange(64))
    torch.testing.assert_close(log_probs * episodes.mask, episodes.log_probs, rtol=1e-4, atol=1e-5)
    paid = episodes.paid(task.kl_coef)
    expected = episodes.rewards.sum(1) / task.kl_coef - episodes.log_ratios.sum(1)
    torch.testing.assert_close(paid.sum(1), expected)


@pytest.mark.parametrize("critic", [True, False])
@pytest.mark.parametrize("lengths", [None, [0, 1, 2, 3, 5, 8, 8, 0]])
def test_a_text_policy_reads_what_it_wrote_as_it_was_written(critic: bool, lengths: list[int] | None) -> None:
    """Step by step, in one pass over the episodes, and from the beginning as the evaluation does; also of
    prompts of different lengths, and of none.
    """
    task = make_task("Sentiment-v0")
    if lengths is not None:
        cut = np.array(lengths)
        tokens = np.where(np.arange(8) < cut[:, None], task.prompts.tokens[:8], task.pad)
        task = dataclasses.replace(task, prompts=Prompts(tokens, cut))  # type: ignore[type-var]
    torch.manual_seed(1)
    policy = make_policy(task, critic=critic)
    assert isinstance(policy, TextPolicy) and (policy.evidence.pairs is not None) == critic
    torch.nn.init.normal_(policy.actor[-1].weight, std=0.2)  # type: ignore[arg-type]
    if critic:
        torch.nn.init.normal_(policy.evidence.pairs.weight)  # type: ignore[union-attr]
    engine = make_engine(task, 8, 0)
    episodes = policy.write(engine, np.arange(8), torch.Generator().manual_seed(0))
    assert episodes.kl.sum(1).min() > 0.1
    with torch.no_grad():
        log_probs, kl = policy.scores(episodes, torch.arange(8))
    torch.testing.assert_close(log_probs, episodes.log_probs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kl, episodes.kl, rtol=1e-3, atol=1e-4)
    scored, _ = for_evaluation(policy, task)
    rows = [scored.start(task.prompts.tokens[:8])]
    for column in episodes.actions.T[:-1].numpy():
        rows.append(scored.step(column))
    taken = torch.from_numpy(np.stack(rows, 1)).gather(-1, episodes.actions[..., None]).squeeze(-1)
    torch.testing.assert_close(taken[episodes.mask], episodes.log_probs[episodes.mask], rtol=1e-3, atol=1e-4)
    until = task.prompts.lengths[:8, None] + 12
    anew = scored.log_probs(np.where(np.arange(task.max_length) < until, episodes.tokens.numpy(), 0))
    long = engine.time >= 12
    np.testing.assert_allclose(anew[long], rows[12][long], rtol=1e-3, atol=1e-4)


def test_the_gradient_of_the_scores_is_that_of_their_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn((5, 7), generator=generator, dtype=torch.float64).log_softmax(-1)
    residual = torch.randn((5, 7), generator=generator, dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([0, 6, 3, 3, 1])
    taken, kl = ResidualScores.apply(reference, residual, actions)  # type: ignore[misc]
    rows = (reference + residual).log_softmax(-1)
    torch.testing.assert_close(taken, rows.gather(1, actions[:, None]).squeeze(1))
    torch.testing.assert_close(kl, divergence(rows, reference))
    assert torch.autograd.gradcheck(
        lambda given: ResidualScores.apply(reference, given, actions), (residual,)
    )


def test_sums_over_a_text_are_its_tokens_and_pairs() -> None:
    evidence = TextEvidence(5, 2)
    torch.nn.init.normal_(evidence.pairs.weight)  # type: ignore[union-attr]
    texts = torch.tensor([[1, 4, 4], [0, 2, 3]])
    sums = evidence.sums(texts)
    pairs = evidence.pairs.weight.view(5, 5)  # type: ignore[union-attr]
    assert sums.shape == (2, 4, 3) and not sums[:, 0].any()
    torch.testing.assert_close(sums[0, 3, :2], evidence.embedding.weight[[1, 4, 4]].sum(0))
    torch.testing.assert_close(sums[0, :, 2], torch.stack((pairs[0, 0] * 0, pairs[0, 0] * 0, pairs[1, 4],
                                                           pairs[1, 4] + pairs[4, 4])))  # fmt: skip
    assert TextEvidence(5_000, 2).pairs is None


def test_draws_follow_the_rows() -> None:
    rows = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).expand(20_000, 3)
    tokens, log_probs = draw(rows, torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens, minlength=3) / len(tokens)
    assert (shares - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 0.015
    torch.testing.assert_close(log_probs, rows[0][tokens])


@pytest.mark.parametrize(
    "train, arguments, least",
    [
        (train_q_learning, QArguments(tokens=60_000), 0.9),
        (train_ppo, PPOArguments(tokens=120_000, batch=32, minibatch=32, rate=5e-3), 0.8),
        (train_reinforce, ReinforceArguments(tokens=120_000, batch=32, group=32, rate=1e-2), 0.8),
    ],
)
def test_learning_approaches_the_known_optimum(
    train: Any, arguments: Arguments, least: float, tmp_path: Path
) -> None:
    arguments.env_kwargs = SMALL_GRID
    arguments.out, arguments.episodes, arguments.threads = str(tmp_path), 512, 1
    score = train(arguments)
    assert least <= score <= 1.0 + 1e-9
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["score"] == score
    assert result["tokens"] >= arguments.tokens  # type: ignore[operator]
    assert (tmp_path / "progress.jsonl").stat().st_size > 0


def test_keywords_are_learnt_a_little_in_little_time(tmp_path: Path) -> None:
    arguments = PPOArguments(
        env_id="klrl/Keywords-v0", tokens=12_000, out=str(tmp_path), episodes=512, threads=1
    )
    score = train_ppo(arguments)
    assert score is not None and 0.05 < score < 1
    load_result(tmp_path / "result.json")
    texts = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert all(isinstance(line["text"], str) and "k1" in line for line in texts)


@pytest.mark.parametrize("env_id", ["klrl/GridNavigation-v0", "klrl/Sentiment-v0"])
@pytest.mark.parametrize("critic", [True, False])
def test_weights_that_were_saved_are_the_policy(env_id: str, critic: bool, tmp_path: Path) -> None:
    module = importlib.import_module("agents.ppo" if critic else "agents.reinforce")
    kind = PPOArguments if critic else ReinforceArguments
    module.train(kind(env_id=env_id, tokens=4_000, out=str(tmp_path), episodes=64, threads=1))
    task = klrl_envs.make_task(env_id, prompts="evaluation")
    policy = load_policy(task, tmp_path)
    scored, features = for_evaluation(policy, task)
    env_id = env_id.replace("-v0", "Features-v0") if features else env_id
    again = klrl_envs.evaluate(scored, env_id, episodes=64, seed=0)
    result = json.loads((tmp_path / "result.json").read_text())
    assert again.objective.estimate == pytest.approx(result["objective"], abs=1e-9)


def test_weights_do_not_depend_on_what_was_loaded_before() -> None:
    code = (
        "import torch; from agents.networks.residual import make_policy; from klrl_envs import make_task\n"
        "for _ in range(2):\n"
        "    torch.manual_seed(0); p = make_policy(make_task('Sentiment-v0'))\n"
        "    print(p.evidence.embedding.weight.sum().item(), p.actor[0].weight.sum().item())\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    cold, warm = ran.stdout.splitlines()
    assert cold == warm


def test_sb3_weights_load_again(tmp_path: Path) -> None:
    from agents.sb3_ppo import ResidualActorCriticPolicy, SB3Arguments, networks_of, train
    from klrl_envs.integrations.sb3 import SB3VecEnv

    train(SB3Arguments(tokens=7_000, out=str(tmp_path), episodes=64, threads=1))
    env = SB3VecEnv("klrl/GridNavigationFeatures-v0", num_envs=1)
    policy = ResidualActorCriticPolicy(
        env.observation_space, env.action_space, lambda _: 1e-3,
        networks=lambda: networks_of(make_task("GridNavigation-v0")),
    )  # fmt: skip
    policy.load_state_dict(load_file(tmp_path / "policy.safetensors"))
    lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    assert any(line["k1"] != 0 for line in lines), "the episodes' own KL is recorded"


@pytest.mark.parametrize("agent", ["reinforce", "ppo", "sb3_ppo", "q_learning"])
def test_a_seed_determines_the_result(agent: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"agents.{agent}")
    kind = {"reinforce": "Reinforce", "ppo": "PPO", "sb3_ppo": "SB3", "q_learning": "Q"}[agent]
    results = []
    for name in ("a", "b", "c"):
        seed = 1 if name == "c" else 0
        out = str(tmp_path / name)
        module.train(
            getattr(module, f"{kind}Arguments")(out=out, tokens=13_000, episodes=64, threads=1, seed=seed)
        )
        results.append(json.loads((tmp_path / name / "result.json").read_text()))
    numbers = [{k: r[k] for k in ("score", "objective", "expected_reward", "kl", "tokens")} for r in results]
    assert numbers[0] == numbers[1]
    assert numbers[0]["objective"] != numbers[2]["objective"]


@pytest.mark.parametrize("agent", ["reference", "posterior"])
def test_the_ends_of_the_scale(agent: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"agents.{agent}")
    module.train(Arguments(out=str(tmp_path), episodes=2048))
    result = load_result(tmp_path / "result.json")
    assert result.score is not None and result.score_interval is not None
    lower, upper = result.score_interval
    target = {"reference": 0.0, "posterior": 1.0}[agent]
    assert lower - 1e-9 <= target <= upper + 1e-9
    assert result.tokens == 0


def test_every_argument_is_documented() -> None:
    for agent in AGENTS:
        module = importlib.import_module(f"agents.{agent}")
        for name, kind in vars(module).items():
            if name.endswith("Arguments"):
                assert set(field_docstrings(kind)) >= {field for field in kind.__dataclass_fields__}, agent


def test_a_command_says_what_differs_from_the_defaults() -> None:
    args = PPOArguments(seed=3, out="runs/x", epochs=2, env_kwargs={"kl_coef": 4.0})
    expected = (
        "python -m agents.ppo --env-id klrl/GridNavigation-v0 --env-kwargs '{\"kl_coef\": 4.0}' "
        "--seed 3 --out runs/x --epochs 2"
    )
    assert command_of(args, "ppo") == expected


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(1.0, progress, 0.1) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] == 1.0
    assert rates[2] > rates[3] > rates[4] == pytest.approx(0.05)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda"):
        train_ppo(PPOArguments(device="tpu"))
    with pytest.raises(ValueError, match="q_learning"):
        train_q_learning(QArguments(env_id="klrl/Keywords-v0", tokens=10, out=str(tmp_path)))


@pytest.mark.gpu
def test_training_on_the_accelerator(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for env_id in ("klrl/GridNavigation-v0", "klrl/Sentiment-v0"):
        arguments = PPOArguments(env_id=env_id, tokens=20_000, out=str(tmp_path), episodes=64, device="cuda")
        assert train_ppo(arguments) is not None
