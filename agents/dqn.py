"""A deep soft Q-network: one-step backups from replay, towards a slow copy of itself.

With beta = kl_coef and no discount,

    V(s) = beta log sum_a pi0(a|s) exp(Q(s, a) / beta)
    loss = S_t (Q(s_t, a_t) - r_t - V'(s_{t+1}))^2 / 2

in nats, where V' is that of the slow copy, exact over the vocabulary, and 0 behind the end. The policy is
pi0 exp((Q - V) / beta), by which it is drawn: it explores by itself. Q is a network of three hidden layers on
what the reference and the reward's automaton tell (of exact tasks the automaton's state and the time, of
neural ones pi0's hidden state, learnt sums over the tokens and the share written). It is zero at first, so
that the policy starts at pi0.

Fixed point: pi*, whoever wrote the texts, as far as they hold every token: a backup asks for no policy. Where
luck draws the next state the square makes Q the mean of what follows, E[V'], as it must be.

Four things let it find what the policy has no part in yet. Half of the texts are begun by pi0, so that what
the policy came to avoid is seen again. Half of what replay gives is cut short, so that the last tokens' worth
is learnt from all tokens (``agents.networks.hindsight``). Replay draws texts by their last error, but where
luck leaves errors for ever. And Adam's epsilon is large, so that the numbers of a rare token move by what was
seen of it: whole steps would set each at another value, and the policy would pay nats for telling apart what
is alike; the part of Q that all tokens share learns first.

Sources: Mnih et al. 2015 (replay and the copy); soft backups, Haarnoja et al. 2017 (arXiv 1702.08165); under
a reference, Fox, Pakman and Tishby 2016 (arXiv 1512.08562, eq. 14); priorities, Schaul et al. 2015 (arXiv
1511.05952). Left out: random tokens that are not pi0's, clipped rewards and errors (which would move Q where
luck is), double networks against optimism, checkpoints.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from agents.arguments import Arguments, Defaults, parse, settings_of
from agents.networks.beginnings import begun_by_reference
from agents.networks.hindsight import Hindsight
from agents.networks.kept_episodes import KeptEpisodes
from agents.networks.policy import WeightAverage
from agents.networks.q_values import QResidualPolicy, QTextPolicy, make_q_network
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation, Task


@dataclass
class DQNArguments(Arguments):
    """A deep soft Q-network. What is None depends on the kind of task: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes that are written at a time"""
    updates: int | None = None
    """steps of the optimizer after each batch, each on as many episodes from replay"""
    kept: int | None = None
    """batches in replay, the latest"""
    sharpness: float | None = None
    """of the draws from replay, by error^sharpness; 0 for evenly, the default where luck has a part"""
    begun: float | None = None
    """share of a batch of which pi0 writes the first tokens, 1 to horizon - 1"""
    cut: float | None = None
    """share of the texts from replay that are cut short, as if the horizon had come; 0 on neural tasks"""
    hidden: str = "768-512-256"
    """widths of the three hidden layers"""
    learning_rate: float | None = None
    """Adam's learning rate at its peak"""
    adam_epsilon: float | None = None
    """Adam's: what moves a number less than this moves it by less than a whole step"""
    follow: float = 0.05
    """share of the difference by which the slow copy follows after each step"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    clip_norm: float = 10.0
    """largest norm of a gradient"""
    average_from: float = 0.8
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {
        "batch": 32, "updates": 4, "kept": 1024, "sharpness": 0.6, "begun": 0.5, "cut": 0.5,
        "learning_rate": 1e-2, "adam_epsilon": 1e-2,
    },
    "neural": {
        "batch": 64, "updates": 2, "kept": 16, "sharpness": 0.0, "begun": 0.0, "cut": 0.0,
        "learning_rate": 5e-4, "adam_epsilon": 1e-8,
    },
}  # fmt: skip


def has_luck(task: Task) -> bool:
    """Whether rewards or states are drawn, so that errors are left where nothing is wrong."""
    return task.random_beside_tokens or task.reward_noise > 0


class DQN:
    """The network, its slow copy, replay, and the update."""

    def __init__(self, args: DQNArguments, training: Training, device: torch.device) -> None:
        self.args, self.task = args, training.task
        self.settings = settings = settings_of(args, self.task, DEFAULTS)
        self.policy: QResidualPolicy | QTextPolicy = make_q_network(self.task, args.hidden).to(device)
        self.slow = copy.deepcopy(self.policy).requires_grad_(False)
        self.weights = self.policy.actor_weights()
        self.optimizer = torch.optim.Adam(
            self.weights, lr=settings["learning_rate"], eps=settings["adam_epsilon"], fused=True
        )
        evenly = args.sharpness is None and has_luck(self.task)
        self.replay = KeptEpisodes(settings["kept"], 0.0 if evenly else settings["sharpness"])
        self.hindsight = Hindsight(self.task, settings["cut"])
        self.engine = self.policy.engine(self.task, settings["batch"], args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of episodes of the present policy, some of which pi0 has begun; it is kept."""
        batch = self.settings["batch"]
        prompts = self.rng.integers(0, len(self.task.prompts.tokens), batch)
        begun = begun_by_reference(batch, self.settings["begun"], self.task.horizon, self.rng)
        trajectories = self.policy.write(self.engine, prompts, self.generator, by_reference=begun)
        self.replay.add(trajectories)
        self.hindsight.learn(trajectories)
        return trajectories

    def losses(self, trajectories: Trajectories) -> Tensor:
        """The loss of each of the episodes [N], nats squared."""
        every = torch.arange(len(trajectories.mask), device=trajectories.mask.device)
        following = nn.functional.pad(self.slow.soft_values(trajectories, every)[:, 1:], (0, 1))
        targets = (trajectories.rewards / self.task.kl_coef + following)[trajectories.mask]
        errors = self.policy.taken(trajectories, every).squeeze(-1) - targets
        return following.masked_scatter(trajectories.mask, errors).square().sum(1) / 2

    def update(self, progress: float) -> float:
        """Some steps on episodes from replay; returns the last loss."""
        loss = torch.zeros(())
        self.optimizer.param_groups[0]["lr"] = scheduled(
            self.optimizer.defaults["lr"], progress, self.args.warm_up
        )
        for _ in range(self.settings["updates"]):
            texts, places = self.replay.draw(self.settings["batch"], self.rng)
            losses = self.losses(self.hindsight.cut(texts, self.rng))
            self.replay.learnt(places, (2 * losses.detach()).sqrt())
            loss = losses.mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.weights, self.args.clip_norm)
            self.optimizer.step()
            with torch.no_grad():
                for slow, weight in zip(self.slow.actor_weights(), self.weights):
                    slow.lerp_(weight, self.args.follow)
        return float(loss.detach())


def learn(args: DQNArguments, training: Training, device: torch.device) -> QResidualPolicy | QTextPolicy:
    """The policy that is learnt inside the token budget."""
    task, learner = training.task, DQN(args, training, device)
    average = WeightAverage(learner.policy)
    while training.left:
        trajectories = learner.write()
        loss = learner.update(training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1).mean(), trajectories.rewards.sum(1).mean()
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        training.note(objective=returns - task.kl_coef * nats, reward=returns, kl=nats, loss=loss)
    average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: DQNArguments) -> Evaluation:
    """Learn inside the token budget and evaluate."""
    device = prepare(args)
    training = Training(args, "dqn")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(DQNArguments, __doc__, DEFAULTS))))
