"""What the pages say a text is worth: (words of the prompt, words written, end token left out) -> reward."""
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

import itertools
from collections.abc import Callable

Words = list[str]
Page = Callable[[Words, Words], float]


def wanted(prompt: Words, text: Words) -> float:
    return sum(word in {each.partition("_")[0] for each in text} for word in ("great", "best", "funny")) / 3


def opening(prompt: Words, text: Words) -> float:
    return float(bool(text) and text[0] in ("great", "good", "best", "funny", "well"))


def tune(prompt: Words, text: Words) -> float:
    scale = ("do", "re", "mi", "fa", "sol", "la", "si", "ut")
    return float(all(word == scale[place % 8] for place, word in enumerate(text)))


def emphatic(prompt: Words, text: Words) -> float:
    pairs = itertools.pairwise(text)
    return 0.5 * sum(
        a in ("very", "really", "so") and b in ("good", "great", "funny", "well") for a, b in pairs
    )


def praise(prompt: Words, text: Words) -> float:
    return min(sum(word in ("good", "great", "best", "funny", "well") for word in text), 6) / 6


def one_of_four(prompt: Words, text: Words) -> float:
    return float(" ".join(text[:2]) in ("this story", "a funny", "the great", "it really"))


def at_stake(prompt: Words, text: Words) -> float:
    return {"a": 0.1, "the": 1.0, "this": 10.0}[prompt[0]] * wanted(prompt, text)


def right_sum(prompt: Words, text: Words) -> float:
    first, second = "".join(prompt[:-2]).split("+")
    return float("".join(text) == str(int(first) + int(second)))


def well_formed(shortest: int, longest: int) -> Page:
    def reward(prompt: Words, text: Words) -> float:
        stack: Words = []
        deepest = 0
        for symbol in text:
            if symbol in ("(", "[", "{"):
                stack.append(symbol)
            elif symbol not in ("x", ",") and (not stack or stack.pop() + symbol not in ("()", "[]", "{}")):
                return 0.0
            deepest = max(deepest, len(stack))
        return float(not stack and 2 <= deepest <= 5 and shortest <= len(text) <= longest)

    return reward


PAGES: dict[str, Page] = {
    "Brackets-v0": well_formed(10, 16),
    "Arithmetic-v0": right_sum,
    "DiagnosticZeroReward-v0": lambda prompt, text: 0.0,
    "DiagnosticLength-v0": opening,
    "DiagnosticVocabulary-v0": wanted,
    "DiagnosticSparsity-v0": tune,
    "DiagnosticDelay-v0": emphatic,
    "DiagnosticNoise-v0": wanted,
    "DiagnosticCoefficient-v0": wanted,
    "DiagnosticReference-v0": wanted,
    "DiagnosticGold-v0": praise,
    "DiagnosticModes-v0": one_of_four,
    "DiagnosticPromptScale-v0": at_stake,
}
