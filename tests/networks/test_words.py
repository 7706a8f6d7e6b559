"""The words of a growing text: sums are those of the whole text, and each next token adds what it says."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch

import klrl_envs
from klrl_envs.networks.words import WORD, WordEvidence, Words, chosen, key_of, keys_of, pair_keys, read_words
from klrl_envs.reference.vocabulary import Vocabulary

TEXTS = (
    "The movie was good, and the movie was not good at all!",
    "Unremittingly bleak; it's a well-made film. Don't miss it (or do) today.",
    "A very very good GOOD good film... good",
    "I saw it in 1999 -- twice",
)


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    return klrl_envs.make_task("klrl/Sentiment-v0").vocabulary


def known() -> dict[str | tuple[str, str], float]:
    """Weights of all words of the texts and of their pairs, and of some that are in none."""
    rng = np.random.default_rng(0)
    words = [WORD.findall(text.lower()) for text in (*TEXTS, "unseen words here")]
    keys = {word for text in words for word in text} | {pair for text in words for pair in pairwise(text)}
    return {key: float(rng.normal()) for key in sorted(keys, key=str)}


def evidence(power: float = 0.5) -> WordEvidence:
    weights = known()
    keys = [
        key_of(key) if isinstance(key, str) else int(pair_keys(*(keys_of([word]) for word in key))[0])
        for key in weights
    ]
    made = WordEvidence(vocabulary(), 20)
    made.set(np.array(keys), np.array(list(weights.values())), (power, 0.3, -0.2, 0.1))
    return made


def expected(text: str) -> tuple[float, int]:
    """The sum and the number of words, read from the whole text."""
    words, weights = WORD.findall(text.lower()), known()
    return sum(weights.get(key, 0.0) for key in {*words, *pairwise(words)}), len(words)


def tokens_of(text: str) -> list[int]:
    encode = vocabulary().encode
    assert vocabulary().decode(encode(text)) == text
    return encode(text)


def after(made: WordEvidence, tokens: list[int]) -> Words:
    return read_words(made, torch.tensor([tokens]), torch.tensor([len(tokens)]), len(tokens) + 1)


@pytest.mark.parametrize("text", TEXTS)
def test_the_sum_is_that_of_the_set_of_words_and_pairs_of_the_whole_text(text: str) -> None:
    words = after(evidence(), tokens_of(text))
    total, count = expected(text)
    if "..." not in text and "--" not in text:  # of marks in one token the last alone weighs
        assert words.sums.item() == pytest.approx(total, abs=1e-5)
    assert words.count.item() == count


def test_case_and_cuts_of_a_tokenizer_change_nothing() -> None:
    whole = after(evidence(), tokens_of(" bleak GOOD film"))
    letters = [token for letter in " bleak good film" for token in vocabulary().encode(letter)]
    apart = after(evidence(), letters)
    assert vocabulary().decode(letters) == " bleak good film"
    assert apart.sums.item() == pytest.approx(whole.sums.item(), abs=1e-5)
    assert apart.count.item() == whole.count.item() == 3


@pytest.mark.parametrize("text", TEXTS[:2])
def test_a_gain_is_what_the_next_token_turns_out_to_add(text: str) -> None:
    made, tokens = evidence(), tokens_of(text)
    for place in range(len(tokens)):
        before = after(made, tokens[:place]) if place else made.none(1, 2)
        gains, begins = made.gains(before)
        now = after(made, tokens[: place + 1])
        # a pair that was there before is no gain; gains know that of words alone
        pair = (pair_keys(now.before.numpy(), now.current.numpy()))[0]
        if pair in before.keys[0].tolist():
            continue
        assert gains[0, tokens[place]].item() == pytest.approx((now.sums - before.sums).item(), abs=1e-5)
        assert begins[0, tokens[place]].item() == (now.count > before.count).item()


def test_a_word_that_is_there_gains_nothing_a_second_time() -> None:
    made = evidence()
    good = tokens_of(" good")
    assert len(good) == 1
    first, again = after(made, tokens_of("The film")), after(made, tokens_of("The film was good and"))
    weight, pair = known()["good"], known().get(("film", "good"), 0.0)
    assert made.gains(first)[0][0, good[0]].item() == pytest.approx(weight + pair, abs=1e-5)
    assert made.gains(again)[0][0, good[0]].item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_changes_are_those_of_the_formula(power: float) -> None:
    made, tokens = evidence(power), tokens_of(TEXTS[0])
    before, now = after(made, tokens[:4]), after(made, tokens[:5])

    def logit(words: Words) -> float:
        count = words.count.item()
        log = np.log(count / 25)
        return words.sums.item() / count**power + 0.3 - 0.2 * log + 0.1 * log**2

    assert made.logits(now.sums, now.count).item() == pytest.approx(logit(now), abs=1e-5)
    logits, rewards = made.changes(before)
    assert logits[0, tokens[4]].item() == pytest.approx(logit(now) - logit(before), abs=1e-5)
    sigmoid = 1 / (1 + np.exp(-np.array([logit(now), logit(before)])))
    assert rewards[0, tokens[4]].item() == pytest.approx(sigmoid[0] - sigmoid[1], abs=1e-5)


def test_texts_that_rest_stay_as_they_are() -> None:
    made = evidence()
    rows = [tokens_of("The film was good"), tokens_of("A film")]
    padded = torch.tensor([row + [len(made.add)] * (6 - len(row)) for row in rows])
    both = read_words(made, padded, torch.tensor([len(row) for row in rows]), 12)
    more = tokens_of("s and")  # goes on with the last word of each
    for token in more:
        both = made.append(both, torch.tensor([token] * 2))
    for place, row in enumerate(rows):
        alone = after(made, row + more)
        assert both.sums[place].item() == pytest.approx(alone.sums.item())
        torch.testing.assert_close(made.gains(both)[0][place], made.gains(alone)[0][0])


def test_texts_along_their_steps_are_chosen_in_order() -> None:
    made, tokens = evidence(), torch.tensor([tokens_of("The film was good")[:3]] * 2)
    steps = [made.none(2, 4)]
    for place in range(2):
        steps.append(made.append(steps[-1], tokens[:, place]))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    found = chosen(steps, mask)
    assert found.count.tolist() == [0.0, 1.0, 0.0, 1.0, 2.0]
    assert len(found.sums) == 5 and found.keys.shape == (5, 8)


def test_of_two_keys_in_one_place_the_heavier_is_kept_and_strangers_weigh_nothing() -> None:
    made = WordEvidence(vocabulary(), 1)
    keys = keys_of(["one", "two", "three", "four"])
    made.set(keys, np.array([1.0, -2.0, 0.5, 0.25]), (0.5, 0.0, 0.0, 0.0))
    found = made._weights(torch.as_tensor(keys))
    assert found[1] == -2.0 and set(found.tolist()) <= {0.0, 1.0, -2.0, 0.5, 0.25}
    assert (found != 0).sum() <= 2
    assert made._weights(torch.as_tensor(keys_of(["five", "six", "seven"]))).abs().sum() == 0
