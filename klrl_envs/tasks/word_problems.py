"""Word problems: sums told in words, worked out in tokens before the answer, and checked exactly.

## Description
Read a question of two or three steps, work it out, and give the answer. The reference was trained on worked
examples with mistakes and is right about one time in ten: what is asked for is not knowledge, but care.

## Action Space
``Discrete(82)``: a word, a digit or a mark; 0 ends the text. With another reference, its vocabulary.

## Observation Space
``Box(int64, (80,))``: the question (of 23 to 40 tokens) and the tokens written so far, padded on the right
with the end token. The features id shows instead the reference's final normalised hidden state and the time
left, float32.

## Starting State
A question such as "Tom has 17 apples. Ida has 4 pens. He buys 5 more. He loses 9 of them. How many apples
does Tom have now?" Some numbers have nothing to do with the answer. 4,096 train, 64 others evaluate;
``reset(options={"prompt": i})`` picks one.

## Rewards
At the end, once: 1 if the last number in what was written is the answer, else 0. How it was found does not
count. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the reward is the same function of the text.

## Information
``reference_log_prob`` (nats) each step. At the end ``text``; ``right_steps``, the share of the equations
written that are right as they stand; ``perplexity`` of the tokens written under the reference. An evaluation
with several episodes a prompt has ``pass@4`` and ``pass@16``, too: how often one of so many texts is right.

## Arguments
``kl_coef`` (.2), ``horizon`` (40), ``reference`` ("sums", a folder, or a hub id, for which a longer horizon
fits), ``prompts`` ("train" or "evaluation"), ``template``, of a reference of one's own: "plain" (the question
stands between "Question: " and a line that begins with "Answer:") or "chat" (it is a user's turn in the
model's own chat template, with the request to end with the answer). What a template adds is prompt.

## Optimum
Certified by sampling: ``assets/certificates`` holds the rewards of 10,000 reference samples for each
evaluation prompt. As the reward is 0 or 1, J* is the mean over prompts of kl_coef log(1 + p (e^{1/kl_coef} -
1)), where p is the share of pi0's texts that are right, and its interval is that of a proportion.

## References
Cobbe et al. 2021 (arXiv 2110.14168) for word problems with worked solutions; Lambert et al. 2024 (arXiv
2411.15124) for verifiable rewards; Chen et al. 2021 (arXiv 2107.03374), equation 1, for pass@k.

## Version History
v0: first version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.catalogue import OWN, load
from klrl_envs.reward.prompted import Prompted
from klrl_envs.reward.word_problems import chosen_problems, result, right_answers
from klrl_envs.tasks.base import Metrics, Prompts
from klrl_envs.tasks.templates import check_template, put_to
from klrl_envs.tasks.text_task import TextTask

EVALUATION, TRAINING = 64, 4_096
HORIZON = 40
PASSES = (4, 16)
OWN_REFERENCE = "sums"
ASKS = {
    "plain": "Question: {}\nAnswer:",
    "chat": "{} Work it out in a few short steps, and end with the answer as a number.",
}
"""What is put to a reference that was not trained on these questions alone."""

_EQUATION = re.compile(r"(\d{1,4}) ([-+*/]) (\d{1,4}) (?:=|is) (\d{1,9})(?!\d)")


def task(
    *,
    kl_coef: float,
    horizon: int = HORIZON,
    reference: str = OWN_REFERENCE,
    prompts: str = "train",
    template: str = "plain",
) -> TextTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=(OWN_REFERENCE, OWN))
    check_template(template)
    asks = "{}" if reference == OWN_REFERENCE and template == "plain" else ASKS[template]
    splits = chosen_problems(EVALUATION, TRAINING)
    listed = [each for split in splits for each in split]
    rows, shown = put_to(model, [asks.format(each.question) for each in listed], template)
    chosen = rows[:EVALUATION] if prompts == "evaluation" else rows[EVALUATION:]
    return TextTask.of(
        model,
        horizon=horizon,
        kl_coef=kl_coef,
        reward_range=(0.0, 1.0),
        prompts=Prompts.padded(chosen, 0),
        reward_fingerprint=reward_digest(),
        score_texts=Answers(shown, [each.answer for each in listed]),
        summarise=passes,
    )


@lru_cache(maxsize=1)
def reward_digest() -> str:
    """SHA-256 of the questions and answers, and of how some texts are scored."""
    both = chosen_problems(EVALUATION, TRAINING)
    listed = [f"{each.question} {each.answer}" for split in both for each in split]
    shown = "The answer is 12. 3 + 4 = 7"
    probed = right_answers([shown, "", "12", shown], [12, 0, 12, 7])
    return hashlib.sha256("\n".join([*listed, str(probed.tolist())]).encode()).hexdigest()


class Answers:
    """Scores texts by the answers to the questions that they begin with.

    Args:
        prompts: the questions, as texts begin with them.
        answers: to each.
    """

    def __init__(self, prompts: Sequence[str], answers: Sequence[int]) -> None:
        self._prompted = Prompted(prompts)
        self._answers = np.array(answers, dtype=np.int64)

    @property
    def answers(self) -> Sequence[str]:
        """See ``Answered``."""
        return [str(answer) for answer in self._answers.tolist()]

    def __call__(
        self, tokens: IntArray, lengths: IntArray, texts: Sequence[str]
    ) -> tuple[FloatArray, Metrics]:
        """1 [K] for each text whose last number after the question is the answer, else 0; and the metrics.

        Raises:
            ValueError: a text that begins with no question of the task.
        """
        numbers, written = self._prompted.split(texts)
        rewards = right_answers(written, self._answers[numbers].tolist())
        return rewards, {"right_steps": right_steps(written)}


def right_steps(texts: Sequence[str]) -> FloatArray:
    """The share of the equations in each text [K] that are right as they stand; 0 where there is none."""
    shares: list[float] = []
    for text in texts:
        equations = _EQUATION.findall(text)
        right = [result(int(a), operation, int(b)) == int(c) for a, operation, b, c in equations]
        shares.append(sum(right) / max(len(right), 1))
    return np.array(shares, dtype=np.float64)


def passes(
    prompts: IntArray, rewards: FloatArray, metrics: Mapping[str, FloatArray] | None = None
) -> dict[str, float]:
    """pass@k for each k that there are texts for: the chance that one of k texts of a prompt is right.

    Without bias from n texts of which c are right: 1 - C(n - c, k) / C(n, k), the mean over prompts (Chen et
    al. 2021, arXiv 2107.03374, equation 1).

    Args:
        prompts: int64 [E], of each episode.
        rewards: [E], 1 or 0.
        metrics: are not looked at.
    """
    count = np.bincount(prompts)
    right = np.bincount(prompts, weights=rewards)[count > 0]
    count = count[count > 0]
    found: dict[str, float] = {}
    for k in PASSES:
        if count.min() >= k:
            place = np.arange(k)
            missed = np.maximum((count - right)[:, None] - place, 0)
            found[f"pass@{k}"] = float(1 - np.prod(missed / (count[:, None] - place), axis=1).mean())
    return found
