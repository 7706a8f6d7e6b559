"""What pi0's own agreement is worth: how far the best guess of an answer goes.

    python -m benchmarks.studies.unseen_answers [ENV_ID ...] [--texts 512] [--answers 128]

Tasks that compare with answers of people pay by a text that the agent is not told. pi* is of this reward,
answers and all. What pi0 itself believes of the answer s to a prompt gives each text y of pi0 an expected
reward, and of that the consensus policy is the optimum:

    r_bar(y) = E_{s ~ pi0} r(y, s)        pi(y) = pi0(y) exp(scale r_bar(y) / kl_coef) / Z

At scale 1 this is the Bayes-optimal policy of an agent to whom the answers are draws of pi0, the
KL-regularised form of minimum-Bayes-risk decoding (Eikema and Aziz 2020, arXiv 2005.10283). Its score is
measured with the true answers. Other scales show how well pi0 knows what it knows.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from klrl_envs import Optimum, evaluation_task, optimum
from klrl_envs.evaluation.shown_texts import reference_texts
from klrl_envs.optima.certificate import mean_stderr
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.document import write_atomically
from klrl_envs.reward.text_overlap import Metric, chrf, rouge_l, token_f1
from klrl_envs.tasks.row import short_id

FOLDER = Path(__file__).parent / "unseen_answers"
METRICS: dict[str, Metric] = {
    "klrl/Summarization-v0": rouge_l,
    "klrl/Translation-v0": chrf,
    "klrl/QuestionAnswering-v0": token_f1,
}
"""The reward of each task, of a text and of one answer."""
SCALES = (0.5, 1.0, 1.5, 2.0)
HEAD = """# What pi0's own agreement is worth

Made by `{command}`: {texts:,} texts of pi0 behind each
evaluation prompt, judged by {answers:,} others in the answer's place (seed {seed}). Three tasks pay by
agreement with an answer that the agent is not told, and pi\\* is of that reward, answers and all. In
Summarization-v0 and Translation-v0 no prompt holds the answer, in QuestionAnswering-v0 most do. The
*consensus policy* is the best one of an agent for whom the answer is one more draw of pi0: it prefers what
pi0's texts agree on, pi0(y) exp(scale E_s r(y, s) / kl_coef) / Z. Its score is by the true answers, as
everyone's; standard errors are of the texts' draws, the answers in their place held fixed. A larger scale
that scores more than 1 does says that pi0 knows more than it is sure of.

It is no ceiling: the rewards of the training prompts may teach a learner what pi0 does not know. But a score
of 1 is for whoever has read the answers.

| environment | J(pi0) | J\\* | {scales} | E[r] at 1 | KL at 1, nats |
| --- | ---: | ---: | {rule} | ---: | ---: |
"""


@dataclass(frozen=True)
class Consensus:
    """What a consensus policy earns: objective with its standard error, expected reward, KL in nats."""

    objective: float
    stderr: float
    expected_reward: float
    kl: float


def consensus(rewards: FloatArray, expected: FloatArray, kl_coef: float, scale: float) -> Consensus:
    """The consensus policy on texts of pi0 behind one prompt, by self-normalised importance weights.

    Args:
        rewards: [N], by the true answer.
        expected: [N], by answers that are draws of pi0.
        kl_coef: the task's.
        scale: of the expected rewards.
    """
    logits = scale * expected / kl_coef
    top = logits.max()
    weights = np.exp(logits - top)
    log_partition = top + np.log(weights.mean())
    weights /= weights.mean()
    reward, told = (weights * rewards).mean(), (weights * expected).mean()
    kl = scale * told / kl_coef - log_partition
    net = rewards - scale * expected
    moved = weights * (net - (weights * net).mean()) + kl_coef * (weights - 1)
    stderr = moved.std() / np.sqrt(len(rewards))
    return Consensus(float(reward - kl_coef * kl), float(stderr), float(reward), float(kl))


def expected_rewards(metric: Metric, texts: Sequence[str], answers: Sequence[str]) -> FloatArray:
    """The mean reward [N] of each text over all answers; texts that are alike are compared once."""
    ours, place = np.unique(np.array(texts, dtype=object), return_inverse=True)
    theirs, counts = np.unique(np.array(answers, dtype=object), return_counts=True)
    pairs = metric(np.repeat(ours, len(theirs)).tolist(), np.tile(theirs, len(ours)).tolist())
    return (pairs.reshape(len(ours), len(theirs)) @ counts / counts.sum())[place]


def measured(env_id: str, texts: int, answers: int, seed: int) -> list[Consensus]:
    """The means over the evaluation prompts, a scale each."""
    task = evaluation_task(env_id)
    prompts = range(len(task.prompts.tokens))
    found: list[list[Consensus]] = [[] for _ in SCALES]
    for prompt in tqdm(prompts, desc=short_id(env_id), unit="prompt"):
        drawn = reference_texts(task, np.full(texts + answers, prompt), len(prompts) * seed + prompt)
        written = [text.written.strip() for text in drawn]
        expected = expected_rewards(METRICS[env_id], written[:texts], written[texts:])
        rewards = np.array([text.reward for text in drawn[:texts]])
        for each, scale in zip(found, SCALES, strict=True):
            each.append(consensus(rewards, expected, task.kl_coef, scale))
    return [mean_of(each) for each in found]


def mean_of(found: Sequence[Consensus]) -> Consensus:
    """The mean over prompts, whose draws are independent."""
    objective, stderr, reward, kl = np.array([astuple(each) for each in found]).T
    return Consensus(float(objective.mean()), mean_stderr(stderr**2), float(reward.mean()), float(kl.mean()))


def line(env_id: str, best: Optimum, found: Sequence[Consensus]) -> str:
    """An environment's row of the table."""
    gap = best.gap
    assert gap is not None, "these tasks have a reward"
    scores = [
        f"{(each.objective - best.reference_value) / gap:.3f} ± {each.stderr / gap:.3f}" for each in found
    ]
    one = found[SCALES.index(1.0)]
    cells = [f"`{short_id(env_id)}`", f"{best.reference_value:.3f}", f"{best.value:.3f}", *scores]
    return "| " + " | ".join([*cells, f"{one.expected_reward:.3f}", f"{one.kl:.2f}"]) + " |"


def main(words: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.unseen_answers",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "env_ids", nargs="*", metavar="ENV_ID", help=f"of {', '.join(METRICS)}; all by default"
    )
    parser.add_argument("--texts", type=int, default=512, help="of pi0 behind each prompt")
    parser.add_argument("--answers", type=int, default=128, help="further texts, which judge them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of README.md")
    options = parser.parse_args(words)
    if options.env_ids and options.out == FOLDER:
        parser.error(f"the page in {FOLDER.name} is of all environments; say where that of some goes: --out")
    for env_id in options.env_ids:
        if env_id not in METRICS:
            parser.error(f"{env_id} has no answers of people; choose of {', '.join(METRICS)}")
    lines = []
    for env_id in options.env_ids or METRICS:
        found = measured(env_id, options.texts, options.answers, options.seed)
        lines.append(line(env_id, optimum(env_id), found))
        print(lines[-1], flush=True)
    given = sys.argv[1:] if words is None else words
    command = shlex.join(["python", "-m", "benchmarks.studies.unseen_answers", *given])
    scales = " | ".join(f"score at {scale:g}" for scale in SCALES)
    head = HEAD.format(
        command=command, texts=options.texts, answers=options.answers, seed=options.seed,
        scales=scales, rule=" | ".join(["---:"] * len(SCALES)),
    )  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out / "README.md", head + "\n".join(lines) + "\n")
    print(f"written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
