"""Learn what the reward is, then train on texts that are written to oneself and judged by that model.

What a task rewards is counted; what an agent writes to itself is not. So the budget buys knowledge of the
reward alone, and short texts tell more of it by the token than long ones: of most texts, first pi0's and then
the policy's own, a beginning of a few tokens is ended by the end token and rewarded, of some the whole.

1. A model of the reward (``networks/reward_model.py``): a ridge regression of its logit on the words and
   pairs of words of a text, fitted anew to all rewarded texts from time to time. It is a *model*: nothing of
   the task's own scoring, of its evaluation prompts, or of any metric is read.
2. The soft value V of a text so far (``networks/soft_value.py``), log E_pi0[exp((r - max) / kl_coef)], by
   log-loss on texts of pi0, and on the policy's by its returns. It reads pi0's hidden state and what the
   model makes of the text so far.
3. The policy: ``WordHeads`` on pi0, which reads the model's own weights of words and of pairs, and what each
   next token would add to their sum. (A policy that only has numbers of tokens tells a text's reward to .07,
   which is 1.4 nats at a kl_coef of .05, and no training makes it tell more.) Its head is first distilled on
   texts of pi0: with w = exp(V(s') - V(s)), each state's loss is the cross-entropy to pi*(.|s),

       -(w - 1) log pi(a|s) - S_a' pi0(a'|s) log pi(a'|s)

   (the second term is the expectation of what the first has taken off), and each state weighs
   exp(V(s) - V(start)), held below ``heaviest``.
4. Then batches of the policy's own whole texts, which the model judges. What a token's l = log pi - log pi0
   should be is V(s') - V(s), and of the k-th step thereafter lambda^k (V(s'') - V(s') - l'') more; half the
   squared difference is the loss. On texts of the policy that is the gradient of the objective, and where pi
   is near pi* it has less variance than an advantage beside the KL's own gradient: both sides of the
   difference know the token. When the budget is spent the learning rate falls.

5. With ``--train all`` or ``lora`` a language model of its own then learns from the heads
   (``networks/imitation.py``): its rows come to be theirs, on texts that they and then it writes.

The fixed point, where V is exact and the policy can be anything, is pi0 exp(r_model / kl_coef) / Z: every
token's V(s') - V(s) is then its l, and the variance of what is followed vanishes. It is pi* as far as the
model is right about the texts that the policy writes.

Sources: soft values, Levine 2018 (arXiv 1805.00909); values under pi0 of prefixes, Q# (Zhou et al. 2025,
arXiv 2502.20548); twists, Zhao et al. 2024 (arXiv 2404.17546); path consistency, Nachum et al. 2017 (arXiv
1702.08892, eq. 14); learnt rewards of texts, Ziegler et al. 2019 (arXiv 1909.08593); training on what a model
says, Dyna (Sutton 1991). Left out: ensembles, any penalty where the model is unsure, a choice of texts that
would tell most, replay of older texts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from agents.arguments import Arguments, parse
from agents.networks.categorical import ResidualScores
from agents.networks.imitation import Imitation, student_of, write_as_student
from agents.networks.language_model import LanguageModelPolicy
from agents.networks.policy import WeightAverage
from agents.networks.reward_model import RewardModel
from agents.networks.self_written import InformedPolicy, SelfWritten, heads_read, joined, write
from agents.networks.soft_value import Judged, SoftValue, judged, scaled_rewards
from agents.run import Training, prepare, report
from klrl_envs import Evaluation, Task
from klrl_envs.wrappers import Episode


@dataclass
class ModelBasedArguments(Arguments):
    """Model-based learning of neural tasks."""

    reference_texts: int = 49_152
    """texts that pi0 writes at first, at most"""
    reference_share: float = 0.4
    """share of the tokens that is spent on beginnings of those, at most"""
    shortest: int = 2
    """tokens of a beginning that is ended and rewarded, at least"""
    longest: int = 16
    """the same at most"""
    whole: float = 0.1
    """share of texts that are rewarded whole"""
    batch: int = 512
    """texts per update"""
    group: int = 4
    """texts of the same prompt in a batch"""
    minibatch: int = 64
    """texts per step of the optimizers"""
    epochs: float = 1.0
    """passes over a batch"""
    value_batches: int = 6
    """batches, the latest, over which the soft value passes after each"""
    refit: float = 0.15
    """growth of the number of rewarded texts after which the model of the reward is fitted anew"""
    train: str = "heads"
    """which weights move: "heads" on pi0, or then "all" of a language model that learns from the heads, or
    "lora", factors of low rank on it"""
    rank: int = 8
    """of the factors"""
    alpha: int = 16
    """the factors' product counts alpha / rank times"""
    imitation_batches: int = 120
    """batches of texts of the heads from which a language model learns"""
    imitation_learning_rate: float = 5e-4
    """Adam's learning rate of the language model at its peak"""
    unpaid_updates: int = 90
    """updates after the last rewarded text, whose weights are averaged"""
    distilled: float = 0.4
    """passes over the texts of pi0 from which the policy is distilled"""
    learning_rate: float = 1e-3
    """Adam's learning rate at first; it falls to a fifth as the budget is spent, then to a hundredth"""
    embedding_learning_rate: float = 3e-4
    """the same of the embeddings of tokens"""
    value_learning_rate: float = 1e-3
    """the same of the soft value on the policy's texts"""
    value_passes: float = 1.5
    """passes over the texts of pi0 from which the soft value is learnt at first"""
    gae_lambda: float = 0.85
    """how fast later steps cease to count in a token's advantage"""
    heaviest: float = 3.0
    """weight of a state in the distillation, at most"""
    ridge: float = 0.1
    """ridge of the model of the reward"""


STEEPEST, FARTHEST, LIKELIER = 20.0, 8.0, 1.4
"""The largest weight of a token in the distillation, the largest error in nats that is followed, and the
largest weight of a token that has become likelier since it was written."""


class ModelBased:
    """The model, the value, the policy, and how each learns.

    Attributes:
        paid_texts, paid_rewards: rewarded texts, and their rewards in [0, 1].
        recent: texts of the policy, what the model made of them, and the value's targets on them.
    """

    def __init__(self, args: ModelBasedArguments, task: Task) -> None:
        self.args = args
        self.task = task
        self.policy = InformedPolicy(task)
        self.value = SoftValue(self.policy.unembedding.shape[1])
        self.model = RewardModel(args.ridge)
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.policy.actor.parameters()), "peak": args.learning_rate},
                {"params": [self.policy.tokens.embedding.weight], "peak": args.embedding_learning_rate},
            ],
            betas=(0.9, 0.99),
        )
        self.value_optimizer = torch.optim.Adam(
            self.value.parameters(), lr=args.value_learning_rate, betas=(0.9, 0.99)
        )
        self.generator = torch.Generator().manual_seed(args.seed)
        self.rng = np.random.default_rng(args.seed)
        self.recent: deque[tuple[SelfWritten, Judged, Tensor]] = deque(maxlen=args.value_batches)
        self.fitted = 0
        self.paid_texts: list[str] = []
        self.paid_rewards: list[NDArray[np.float64]] = []

    def prompts(self, group: int) -> NDArray[np.int64]:
        """Prompts of a batch, so many times each, by their numbers."""
        numbers = self.rng.integers(0, len(self.task.prompts.tokens), self.args.batch // group)
        return np.repeat(numbers, group)

    def write(self, *, reference: bool = False) -> SelfWritten:
        """A batch of texts of the policy, or of pi0, which nobody rewards yet."""
        prompts = self.prompts(1 if reference else self.args.group)
        return write(self.task, None if reference else self.policy, prompts, self.generator)

    def beginnings(self, texts: SelfWritten) -> NDArray[np.int64]:
        """How many tokens of each text are rewarded, int64 [N]; more than it has for all."""
        args, count = self.args, len(texts)
        steps = self.rng.integers(args.shortest, args.longest + 1, count)
        whole = self.rng.random(count) < args.whole
        return np.where(whole | (self.task.end_token is None), self.task.horizon, steps)

    def keep(self, texts: list[str], rewards: NDArray[np.float64]) -> None:
        """Note rewarded texts and their rewards [N] in [0, 1]."""
        self.paid_texts += texts
        self.paid_rewards.append(rewards)

    def fit_reward(self) -> None:
        """Fit the model of the reward anew, and let the others read it."""
        self.fitted = len(self.paid_texts)
        self.model.fit(self.paid_texts, np.concatenate(self.paid_rewards))
        self.model.give(self.policy.words)

    def fit_value(self, texts: SelfWritten, passes: float, peak: float) -> None:
        """Learn the soft value from texts of pi0; the learning rate falls from its peak."""
        found = judged(self.task, self.model, self.policy.words, texts)
        optimizer = torch.optim.Adam(self.value.parameters(), lr=peak, betas=(0.9, 0.99))
        for part, progress in self.parts(len(texts), passes, 4 * self.args.minibatch):
            optimizer.param_groups[0]["lr"] = peak * (1.01 - progress)
            loss = self.value.acceptance_loss(texts, found, part)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def parts(self, count: int, passes: float, size: int) -> Iterator[tuple[Tensor, float]]:
        """Minibatches of ``size`` of ``count`` texts, each pass in a new order, and the share done."""
        whole = max(round(passes * count), 1)
        orders = [self.rng.permutation(count) for _ in range(-(-whole // count))]
        chosen = torch.as_tensor(np.concatenate(orders)[:whole])
        for place, part in enumerate(chosen.split(size)):
            yield part, place * size / whole

    def distil(self, texts: SelfWritten, passes: float) -> None:
        """Bring the policy towards pi* on texts of pi0."""
        found = judged(self.task, self.model, self.policy.words, texts)
        values = self.value.of_all(texts, found)
        gains = values.diff(dim=1)
        tilts = gains.exp().clamp_max(STEEPEST)
        weights = (values[:, :-1] - values[:, :1]).exp().clamp_max(self.args.heaviest)
        for part, progress in self.parts(len(texts), passes, self.args.minibatch):
            mask = texts.mask[part]
            reference, residual = heads_read(self.policy, texts, part)
            rows = (reference + residual).log_softmax(dim=-1)
            taken = rows.gather(-1, texts.actions[part][mask][:, None]).squeeze(-1)
            loss = -(tilts[part][mask] - 1) * taken - (reference.softmax(dim=-1) * rows).sum(dim=-1)
            weight = weights[part][mask]
            self.descend((weight * loss).sum() / weight.sum(), 1 - 0.7 * progress)

    def descend(self, loss: Tensor, share: float) -> None:
        """One step of the policy at a share of its learning rates."""
        for group in self.optimizer.param_groups:
            group["lr"] = share * group["peak"]
        self.optimizer.zero_grad()
        loss.backward()
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        self.optimizer.step()

    def update(self, texts: SelfWritten, found: Judged, share: float) -> dict[str, float]:
        """Some passes over texts of the policy; returns what is worth noting."""
        values = self.value.of_all(texts, found)
        wanted, targets = self.estimates(texts, values)
        for part, _ in self.parts(len(texts), self.args.epochs, self.args.minibatch):
            mask, actions = texts.mask[part], texts.actions[part][texts.mask[part]]
            logits, residual = heads_read(self.policy, texts, part)
            reference = logits.log_softmax(dim=-1)
            scores: Any = ResidualScores.apply(reference, residual, actions)
            ratio = (scores[0].detach() - texts.log_probs[part][mask]).exp().clamp_max(LIKELIER)
            nats = scores[0] - reference.gather(-1, actions[:, None]).squeeze(-1)
            error = (wanted[part][mask] - nats).clamp(-FARTHEST, FARTHEST)
            self.descend((ratio * error.square()).sum() / (2 * len(part)), share)
        self.recent.append((texts, found, targets))
        for texts_then, found_then, targets_then in list(self.recent):
            for part, _ in self.parts(len(texts_then), 1.0, self.args.minibatch):
                values = self.value(texts_then, found_then, part)[:, :-1]
                error = (values - targets_then[part])[texts_then.mask[part]]
                self.value_optimizer.zero_grad()
                error.square().mean().backward()
                self.value_optimizer.step()
        spread = found.final - texts.log_ratios.sum(1)
        return {
            "spread": spread.view(-1, self.args.group).std(1).mean().item() if self.args.group > 1 else 0.0
        }

    def estimates(self, texts: SelfWritten, values: Tensor) -> tuple[Tensor, Tensor]:
        """What the log-ratios of the tokens should be, and the value's targets; each [N, T], nats."""
        gains = values.diff(dim=1) * texts.mask
        surplus = gains - texts.log_ratios
        later = torch.zeros_like(gains)
        for step in reversed(range(gains.shape[1] - 1)):
            later[:, step] = self.args.gae_lambda * (surplus[:, step + 1] + later[:, step + 1])
        return gains + later, values[:, :-1] + surplus + later


def pay(training: Training, learner: ModelBased, texts: SelfWritten) -> dict[str, float]:
    """Have beginnings of as many of the texts rewarded, from the first on, as the budget has tokens for.

    A beginning is ended by the end token, which is written and counted like any other. Returns what to note.
    """
    task, steps = training.task, texts.mask.sum(1).numpy()
    kept = learner.beginnings(texts)
    cut = kept < steps
    lengths = texts.first.numpy() + np.where(cut, kept + 1, steps)
    written = np.maximum(lengths - task.prompts.lengths.min(), 0)
    count = int(np.searchsorted(written.cumsum(), training.budget - training.tokens, side="right"))
    if count == 0:
        return {}
    tokens = np.where(np.arange(task.max_length) < lengths[:, None], texts.tokens.numpy(), task.pad)
    if task.end_token is not None:
        tokens[np.flatnonzero(cut), lengths[cut] - 1] = task.end_token
    rewards, metrics = task.score(tokens[:count], lengths[:count])
    training.count(int(written[:count].sum()))
    nats, log_probs = texts.log_ratios.sum(1).tolist(), texts.log_probs.sum(1).tolist()
    episodes = [
        Episode(
            episode=place,
            tokens=training.tokens,
            text=str(metrics["text"][place]),
            task_reward=float(rewards[place]),
            paid=float(rewards[place]) - (0.0 if cut[place] else task.kl_coef * nats[place]),
            length=int(lengths[place] - texts.first[place]),
            **({} if cut[place] else {"k1": nats[place], "log_prob": log_probs[place]}),
            lane=place,
            metrics={name: values[place] for name, values in metrics.items() if name != "text"},
        )
        for place in range(count)
    ]
    training.record(episodes)
    scaled = scaled_rewards(task, torch.as_tensor(rewards)).double().numpy()
    learner.keep(found := [str(text) for text in metrics["text"]], scaled)
    # those that were to be rewarded whole; of the others those that ended before their cut are short ones
    chosen = np.flatnonzero(kept[:count] >= task.horizon)
    if not learner.fitted or not len(chosen):
        return {}
    guessed = expit(learner.model.logits([found[place] for place in chosen]))
    return {
        "objective": float(np.mean([episodes[place].paid for place in chosen])),
        "reward": float(rewards[chosen].mean()),
        "kl": float(np.mean([nats[place] for place in chosen])),
        "error": float(np.sqrt(np.square(guessed - scaled[chosen]).mean())),
    }


def begin(learner: ModelBased, training: Training) -> SelfWritten:
    """Have beginnings of pi0's texts rewarded, fit all to them, distil the policy; returns those texts."""
    args, parts = learner.args, []
    limit = args.reference_share * training.budget
    while not parts or (training.tokens < limit and len(parts) * args.batch < args.reference_texts):
        texts = learner.write(reference=True)
        pay(training, learner, texts)
        parts.append(texts.halved())
    if not learner.paid_texts:
        raise ValueError(f"tokens must pay for at least one beginning of a text, got {training.budget}")
    reference = joined(parts)
    learner.fit_reward()
    learner.fit_value(reference, args.value_passes, 2e-3)
    learner.distil(reference, args.distilled)
    return reference


def learn(args: ModelBasedArguments, training: Training) -> ModelBased:
    """What is learnt inside the token budget."""
    task = training.task
    learner = ModelBased(args, task)
    reference = begin(learner, training)
    average, unpaid = WeightAverage(learner.policy), 0  # pyright: ignore[reportArgumentType]
    while unpaid < args.unpaid_updates:
        texts = learner.write()
        numbers = {} if unpaid else pay(training, learner, texts)
        found = judged(task, learner.model, learner.policy.words, texts)
        share = (1 - 0.8 * training.progress) * (1 - 0.95 * unpaid / args.unpaid_updates)
        numbers |= learner.update(texts, found, share)
        training.note(**numbers, predicted_reward=found.rewards.mean(), nats=texts.log_ratios.sum(1).mean())
        spent = training.budget - training.tokens < task.horizon
        if len(learner.paid_texts) > (1 + args.refit) * learner.fitted or (spent and not unpaid):
            learner.fit_reward()
            learner.fit_value(reference, 0.2, 5e-4)
        unpaid += int(spent)
        if spent:
            average.add()
    average.apply()
    return learner


def imitate(learner: ModelBased, training: Training, student: LanguageModelPolicy) -> LanguageModelPolicy:
    """The language model, when it has learnt to write as the heads do; no text of it is rewarded."""
    args = learner.args
    imitation = Imitation(learner.policy, student, args.imitation_learning_rate)

    def written(own: bool) -> SelfWritten:
        if not own:
            return learner.write()
        return write_as_student(student, learner.prompts(args.group), learner.generator)

    for nats in imitation.learn(written, args.imitation_batches, args.minibatch, learner.rng):
        training.note(from_the_heads=nats)
    student.trains = f"{student.trains}, from heads that judge by a learnt model of the reward"
    return student


def train(args: ModelBasedArguments) -> Evaluation:
    """Learn inside the token budget and evaluate.

    Raises:
        ValueError: the task is exact, or its pi0 has no hidden state from which its logits follow.
    """
    prepare(args)
    training = Training(args, "model_based")
    if training.task.exact is not None:
        raise ValueError(
            f"model_based needs a neural environment, got {training.row.gym_id}: in an exact one the state "
            "tells the reward; take agents.ppo"
        )
    if args.batch % args.group:
        raise ValueError(f"group must divide batch {args.batch}, got {args.group}")
    student = None if args.train == "heads" else student_of(training.task, args.train, args.rank, args.alpha)
    learner = learn(args, training)
    policy = learner.policy if student is None else imitate(learner, training, student)
    training.describe(policy.observes, policy.trains)
    scored, features = policy.for_evaluation(training.evaluation_task)
    return training.finish(scored, features=features, network=policy)


if __name__ == "__main__":
    print(report(train(parse(ModelBasedArguments, __doc__))))
