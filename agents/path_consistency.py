"""Path consistency learning: along every piece of every text, the optimum's values and log-ratios agree.

In nats, with l = log pi - log pi0 of a token, and V = 0 behind the end,

    error_t = V(s_t) - V(s_{t+h}) - S_{t<=u<t+h} (r_u / kl_coef - l_u)
    loss = S_t error_t^2 / (2 h)

for pieces of ``steps`` h tokens from every place, shorter at the end. Policy and value follow the gradient
of the same loss, the value at both of its places. It is zero for pi* and its soft value on whatever text, so
that texts of earlier policies serve, too: beside each batch the policy learns from some of the latest ones.
So do texts that another begins: what a policy has come to avoid it learns nothing of by its own texts, and
on exact tasks pi0 writes the first tokens of half of each batch. And so do texts that are cut short, as half
of them are there whenever they are learnt from (``agents.networks.hindsight``). Adam's epsilon is large, too,
so that what a rare token has in excess is learnt from what was seen of it, and not by whole steps: each would
be set at another value, and the policy would pay nats for telling apart what is alike.

Fixed point: pi*, where texts have full support, whoever wrote them. On texts of the present policy, with
pieces that reach to the end, the policy's expected gradient is that of -J / kl_coef token by token, that of
the t-th token t / h times, as so many pieces hold it. Luck breaks this: the square of an error that luck has
a part in is least elsewhere, so that a task must be without (``agents.klq`` regresses on the mean instead).

Sources: Nachum et al. 2017 (arXiv 1702.08892, eq. 14); over a language model's vocabulary and on several
steps, Clavier et al. 2025 (arXiv 2505.11081). Left out: drawing earlier texts by their reward, a discount of
later steps, and one network for policy and value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from agents.arguments import Defaults, NetworkArguments, parse, settings_of
from agents.checkpoints import Checkpoints, Part, training_parts
from agents.networks.beginnings import begun_by_reference, check_begun
from agents.networks.hindsight import Hindsight
from agents.networks.kept_batches import KeptBatches
from agents.networks.make import make_network, trained_by
from agents.networks.policy import PolicyNetwork, WeightAverage
from agents.networks.trajectories import Trajectories
from agents.run import Training, prepare, report, scheduled
from klrl_envs import Evaluation


@dataclass
class PathConsistencyArguments(NetworkArguments):
    """Path consistency learning. What is None depends on the kind of training: see ``DEFAULTS``."""

    batch: int | None = None
    """episodes per update"""
    group: int | None = None
    """episodes of the same prompt in a batch; each prompt is read once"""
    cut: float | None = None
    """share of the texts of a step that are cut short, as if the horizon had come; 0 on neural tasks"""
    steps: int | None = None
    """tokens of a piece, h; 0 for all up to the end"""
    replayed: int | None = None
    """earlier batches that are learnt from beside each new one"""
    kept: int | None = None
    """batches that are kept, the latest"""
    learning_rate: float | None = None
    """Adam's learning rate of the policy at its peak"""
    adam_epsilon: float | None = None
    """Adam's: what moves a number less than this moves it by less than a whole step"""
    critic_learning_rate: float = 1e-3
    """the same of the value"""
    pair_learning_rate: float = 1e-2
    """the same of the value's numbers for pairs of tokens, each of which is seen rarely"""
    warm_up: float = 0.02
    """share of the training in which the learning rate rises"""
    begun: float | None = None
    """share of a batch of which pi0 writes the first tokens, 1 to horizon - 1; not for language models"""
    clip_norm: float | None = None
    """largest norm of the policy's gradient"""
    average_from: float = 0.8
    """share of the training after which weights are averaged; 1 for no averaging"""


DEFAULTS: Defaults = {
    "exact": {
        "batch": 32, "group": 1, "steps": 8, "replayed": 4, "kept": 16, "learning_rate": 1e-2,
        "clip_norm": 1.0, "adam_epsilon": 3e-4, "begun": 0.5, "cut": 0.5,
    },
    "neural": {
        "batch": 64, "group": 4, "steps": 8, "replayed": 2, "kept": 8, "learning_rate": 5e-4,
        "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut": 0.0,
    },
    "neural-all": {
        "batch": 128, "group": 8, "steps": 0, "replayed": 1, "kept": 4, "learning_rate": 1e-4,
        "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut": 0.0,
    },
    "neural-lora": {
        "batch": 128, "group": 8, "steps": 0, "replayed": 1, "kept": 4, "learning_rate": 1e-3,
        "clip_norm": 1.0, "adam_epsilon": 1e-8, "begun": 0.0, "cut": 0.0,
    },
}  # fmt: skip


def errors_of(paid: Tensor, values: Tensor, mask: Tensor, steps: int) -> Tensor:
    """The errors [N, T] of pieces that begin at each step, nats, zero after the end.

    Args:
        paid: [N, T], r / kl_coef - (log pi - log pi0), zero after the end.
        values: [N, T], V of the states in which the steps were taken.
        mask: bool [N, T], the steps that were taken.
        steps: of a piece, at most; 0 for all.
    """
    length = paid.shape[1]
    size = min(steps, length) if steps else length
    values = nn.functional.pad(torch.where(mask, values, 0.0), (0, size))
    so_far = nn.functional.pad(paid.cumsum(1), (1, 0))
    so_far = torch.cat((so_far, so_far[:, -1:].expand(-1, size)), dim=1)
    errors = values[:, :length] - values[:, size:] - (so_far[:, size : size + length] - so_far[:, :length])
    return torch.where(mask, errors, 0.0)


def descend(
    policy: PolicyNetwork, trajectories: Trajectories, kl_coef: float, steps: int, micro_batch: int
) -> Tensor:
    """Add the gradient of the mean of the loss over episodes, and return that mean.

    Args:
        policy: gets the gradient, in its critic, too.
        trajectories: of whatever policy, softened.
        kl_coef: in units of reward per nat.
        steps: of a piece; 0 for all.
        micro_batch: episodes whose gradient is computed at once; 0 for as many as is fastest.
    """
    count, length = trajectories.mask.shape
    total = torch.zeros((), device=trajectories.mask.device)
    reference = trajectories.log_probs - trajectories.log_ratios
    for part in policy.split(torch.arange(count, device=total.device), micro_batch):
        log_probs, _ = policy.scores(trajectories, part)
        paid = trajectories.rewards[part] / kl_coef - (log_probs - reference[part])
        errors = errors_of(paid, policy.values(trajectories, part), trajectories.mask[part], steps)
        loss = errors.square().sum() / (2 * (steps or length) * count)
        loss.backward()
        total += loss.detach()
    return total


class PathConsistency:
    """A policy with its critic, their optimizers, and the batches that are kept."""

    def __init__(self, args: PathConsistencyArguments, training: Training, device: torch.device) -> None:
        self.args, self.task = args, training.task
        if self.task.exact is not None and not self.task.exact.automaton.deterministic:
            raise ValueError(
                f"path_consistency needs a task whose next state follows from the token, and in "
                f"{training.row.gym_id} luck has a part in it; take agents.klq"
            )
        self.settings = settings = settings_of(args, self.task, DEFAULTS)
        batch, group = int(settings["batch"]), int(settings["group"])
        if batch % group:
            raise ValueError(f"group must divide batch {batch}, got {group}")
        check_begun(settings["begun"], args.train)
        self.policy = make_network(self.task, observe=args.observe, trained=trained_by(args)).to(device)
        sparse = {m.weight for m in self.policy.modules() if isinstance(m, nn.Embedding) and m.sparse}
        dense = [weight for weight in self.policy.critic_weights() if weight not in sparse]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.99), eps=settings["adam_epsilon"], fused=True)
            for weights, rate in (
                (self.policy.actor_weights(), settings["learning_rate"]),
                (dense, args.critic_learning_rate),
            )
        ]
        if sparse:
            self.optimizers.append(torch.optim.SparseAdam(sparse, lr=args.pair_learning_rate))
        self.replay = KeptBatches(settings["kept"], device)
        self.hindsight = Hindsight(self.task, settings["cut"])
        self.engine = self.policy.engine(self.task, batch, args.seed)
        self.generator = torch.Generator(device).manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)

    def write(self) -> Trajectories:
        """A batch of episodes of the present policy, some of which pi0 has begun."""
        batch, group = self.settings["batch"], self.settings["group"]
        prompts = np.repeat(self.rng.integers(0, len(self.task.prompts.tokens), batch // group), group)
        begun = begun_by_reference(batch, self.settings["begun"], self.task.horizon, self.rng)
        return self.policy.write(self.engine, prompts, self.generator, by_reference=begun)

    def update(self, trajectories: Trajectories, progress: float) -> Tensor:
        """A step on a new batch, and steps on kept ones; returns the loss of the first."""
        if progress == 0:
            self.policy.level(trajectories.paid(self.task.kl_coef).sum(dim=1))
        self.hindsight.learn(trajectories)
        loss = self.step(trajectories, progress)
        if len(self.replay):
            for _ in range(self.settings["replayed"]):
                self.step(self.replay.draw(self.rng), progress)
        self.replay.add(trajectories)
        return loss

    def step(self, trajectories: Trajectories, progress: float) -> Tensor:
        """One step of the optimizers; returns the loss before it."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            rate = scheduled(optimizer.defaults["lr"], progress, self.args.warm_up)
            optimizer.param_groups[0]["lr"] = rate
        softened = self.policy.softened(self.hindsight.cut(trajectories, self.rng))
        steps, micro_batch = self.settings["steps"], self.args.micro_batch
        loss = descend(self.policy, softened, self.task.kl_coef, steps, micro_batch)
        torch.nn.utils.clip_grad_norm_(self.policy.actor_weights(), self.settings["clip_norm"])
        for optimizer in self.optimizers:
            optimizer.step()
        return loss


def learn(args: PathConsistencyArguments, training: Training, device: torch.device) -> PolicyNetwork:
    """The policy that is learnt inside the token budget."""
    task, learner = training.task, PathConsistency(args, training, device)
    average = WeightAverage(learner.policy)
    parts = training_parts(
        learner.policy, learner.optimizers, average, learner.generator, learner.rng, learner.engine
    )
    parts["replay"] = Part(learner.replay.state, learner.replay.restore)
    parts["hindsight"] = Part(learner.hindsight.state, learner.hindsight.restore)
    checkpoints = Checkpoints(args, training, parts, at_risk=learner.engine.lanes * task.horizon)
    while training.left:
        trajectories = learner.write()
        loss = learner.update(trajectories, training.progress)
        if training.progress >= args.average_from:
            average.add()
        nats, returns = trajectories.log_ratios.sum(1).mean(), trajectories.rewards.sum(1).mean()
        training.count(trajectories.steps)
        training.record(trajectories.episodes(training.tokens, task.kl_coef))
        training.note(objective=returns - task.kl_coef * nats, reward=returns, kl=nats, loss=loss)
        checkpoints.save_if_due()
    checkpoints.save()
    average.apply()
    training.describe(learner.policy.observes, learner.policy.trains)
    return learner.policy


def train(args: PathConsistencyArguments) -> Evaluation:
    """Learn inside the token budget and evaluate.

    Raises:
        ValueError: luck has a part in the task's next state.
    """
    device = prepare(args)
    training = Training(args, "path_consistency")
    policy = learn(args, training, device)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(PathConsistencyArguments, __doc__, DEFAULTS))))
