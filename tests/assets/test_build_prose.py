"""``prose``: its examples as tokens, the order of a run, and a run that is interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from klrl_envs.assets import file_digest, read_arrays
from klrl_envs.assets.build import prose_training
from klrl_envs.assets.build.debian_lists import fetch
from klrl_envs.assets.build.examples import (
    PROMPT_WEIGHT,
    SHARES,
    Encoded,
    batches,
    choose_vocabulary,
    cut,
    group_of,
)
from klrl_envs.assets.build.formats import Example
from klrl_envs.assets.build.prose import SHAPE, build, prepared
from klrl_envs.assets.build.prose_measures import SHOWN
from klrl_envs.assets.build.prose_training import Run, Settings, factor, held_out_losses, weighted_loss
from klrl_envs.assets.build.texts import written
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.prose import reference_of
from klrl_envs.reference.slot_words import UNKNOWN, SlotVocabulary
from tests.assets.debian import many, mirror

SMALL = NanoConfig(vocab_size=160, width=16, layers=1, heads=2, hidden=32, context=192)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SlotVocabulary, Encoded]:
    """A folder of lists, and the vocabulary and examples of them."""
    folder = tmp_path_factory.mktemp("prose")
    lists = fetch(folder / "debian", mirror(folder / "mirror", *many(60)))
    return folder, *prepared(lists, folder, folder, SMALL.vocab_size)


def test_the_vocabulary_has_the_words_that_weigh_most(made: tuple[Path, SlotVocabulary, Encoded]) -> None:
    _, vocabulary, _ = made
    assert vocabulary.size <= SMALL.vocab_size
    assert {"is", "the", "fr", "it", "de", "game", "yes"} <= set(vocabulary.words)
    assert set(" .,-:/()") <= set(vocabulary.separators)


def test_signs_are_separators_where_they_are_common_and_never_the_unknown() -> None:
    texts = [
        Example("summary", "a « b » \ufffd c \ufffd d\nSynopsis: ", ("b, ☃",), held_out=False),
        Example("summary", "e\nSynopsis: ", ("never ☂ seen",), held_out=True),
    ]
    vocabulary = choose_vocabulary(texts, 120)
    assert {"«", "»", "☃", " « ", ", ☃"} <= set(vocabulary.separators)
    assert "☂" not in vocabulary.separators and set(vocabulary.words) == {"a", "b", "c", "d"}
    assert vocabulary.encode("\ufffd") == [UNKNOWN]


def test_examples_as_tokens_are_texts_with_prompts(made: tuple[Path, SlotVocabulary, Encoded]) -> None:
    folder, vocabulary, data = made
    assert {group_of(kind) for kind in data.kinds} == set(SHARES)
    assert (data.tokens[data.starts[1:] - 1] == 0).all() and (data.tokens == 0).sum() == len(data.kind)
    place = int(np.flatnonzero((data.kind == data.kinds.index("fr")) & data.held_out)[0])
    tokens = data.tokens[data.starts[place] : data.starts[place + 1]].tolist()
    assert vocabulary.decode(tokens[: data.prompts[place]]) == "en toolkit of <1>\nFrench: "
    again = Encoded.load(folder / "prose.examples.safetensors")
    for name, value in vars(data).items():
        np.testing.assert_array_equal(getattr(again, name), value)


def test_the_weights_are_those_of_the_formats(made: tuple[Path, SlotVocabulary, Encoded]) -> None:
    _, _, data = made
    chosen = np.array([np.flatnonzero(data.prompts == 0)[0], np.flatnonzero(data.prompts > 0)[0]])
    tokens, weights = data.padded(chosen)
    for row, place in enumerate(chosen):
        length, prompt = data.lengths[place], data.prompts[place]
        np.testing.assert_array_equal(
            tokens[row, :length], data.tokens[data.starts[place] : data.starts[place + 1]]
        )
        expected = (
            [PROMPT_WEIGHT] * length if prompt == 0 else [PROMPT_WEIGHT] * prompt + [1.0] * (length - prompt)
        )
        np.testing.assert_allclose(weights[row], np.pad(expected, (0, tokens.shape[1] - length)))


def test_what_is_unknown_weighs_nothing_and_much_of_it_is_left_out(
    made: tuple[Path, SlotVocabulary, Encoded],
) -> None:
    _, vocabulary, _ = made
    texts = [
        Example("summary", "the game\nSynopsis: ", (answer,), held_out=False)
        for answer in ("the Unheard game is", "the Unheard game")
    ]
    data = Encoded.of(texts, vocabulary)
    assert len(data.kind) == 1  # of the second a third is unknown
    tokens, weights = data.padded(np.array([0]))
    assert (tokens[0] == UNKNOWN).tolist() == [False] * 4 + [True] + [False] * 3
    assert weights[0].tolist() == pytest.approx([PROMPT_WEIGHT] * 3 + [1, 0, 1, 1, 1])


def test_a_run_reads_what_it_was_told_to(made: tuple[Path, SlotVocabulary, Encoded]) -> None:
    _, _, data = made
    order = batches(data, 40_000, 1_000, seed=0)
    every = np.concatenate(order)
    assert not data.held_out[every].any()
    for group, share in SHARES.items():
        members = np.array([group_of(data.kinds[kind]) == group for kind in data.kind])
        assert data.lengths[every[members[every]]].sum() == pytest.approx(share * 40_000, abs=200)
        times = np.bincount(every, minlength=len(members))[members & ~data.held_out]
        assert times.max() - times.min() <= 1
    assert all(len(each) * data.lengths[each].max() <= 1_000 for each in order)
    assert all(np.array_equal(a, b) for a, b in zip(order, batches(data, 40_000, 1_000, seed=0), strict=True))
    assert not np.array_equal(order[0], batches(data, 40_000, 1_000, seed=1)[0])


def test_parts_are_whole() -> None:
    lengths = np.array([3, 4, 9, 9, 20])
    parts = cut(np.arange(5), lengths, 18)
    assert [each.tolist() for each in parts] == [[0, 1], [2, 3], [4]]


def test_the_loss_is_the_weighted_mean_over_tokens(made: tuple[Path, SlotVocabulary, Encoded]) -> None:
    _, _, data = made
    torch.manual_seed(0)
    model = Nano(SMALL)
    chosen = np.flatnonzero(data.kind == data.kinds.index("summary"))[:3]
    total = weight = 0.0
    for place in chosen:
        tokens = torch.as_tensor(data.tokens[data.starts[place] : data.starts[place + 1]].astype(np.int64))
        rows = model(torch.cat((torch.zeros(1, dtype=torch.int64), tokens[:-1]))[None])[0].log_softmax(dim=-1)
        each = torch.where(torch.arange(len(tokens)) < int(data.prompts[place]), PROMPT_WEIGHT, 1.0)
        total -= float((rows.detach().gather(1, tokens[:, None])[:, 0] * each).sum())
        weight += float(each.sum())
    assert weighted_loss(model, data, chosen).item() == pytest.approx(total / weight, rel=1e-5)


def test_the_rates_rise_and_fall_to_nothing() -> None:
    assert factor(0, 1000) == pytest.approx(1 / prose_training.WARMUP)
    assert factor(500, 1000) == pytest.approx(0.5) and 0 < factor(999, 1000) < 1e-5


def test_an_interrupted_run_ends_as_one_that_was_not(
    made: tuple[Path, SlotVocabulary, Encoded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, data = made
    monkeypatch.setattr(prose_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(prose_training, "BATCH_TOKENS", 500)

    def run(name: str, tokens: int = 4_000) -> Run:
        (tmp_path / name).mkdir(exist_ok=True)
        return Run(Settings(SMALL, tokens, 0, tmp_path / name), data)

    whole = run("whole")
    first = held_out_losses(whole.model, data, 9)
    last = whole.train(lambda row: None)
    assert held_out_losses(last, data, 9)["summary"] < first["summary"]

    def killed(row: Mapping[str, object]) -> None:
        if row["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("cut").train(killed)
    other = run("cut")
    assert other.step == 4 and other.seconds > 0
    for name, value in other.train(lambda row: None).state_dict().items():
        torch.testing.assert_close(value, last.state_dict()[name], rtol=0, atol=0)
    with pytest.raises(ValueError, match="is of a run of 4000 tokens, not 5000"):
        run("cut", 5_000)


def test_a_build_writes_the_files_and_measures_what_it_wrote(
    made: tuple[Path, SlotVocabulary, Encoded], tmp_path: Path
) -> None:
    folder, _, data = made
    lists = fetch(folder / "debian")
    (tmp_path / "out").mkdir()
    measured = build(tmp_path / "out", tmp_path, 3_000, lists=lists, shape=SMALL)
    assert measured["release"] == lists.release
    assert measured["sha256_of_the_lists"] == lists.digests
    assert measured["training_tokens"] == pytest.approx(3_000, abs=500)
    losses = measured["held_out_nats_per_token"]
    assert isinstance(losses, dict) and set(losses) == {
        data.kinds[kind] for kind in np.unique(data.kind[data.held_out])
    }
    weights = read_arrays(tmp_path / "out" / "prose.safetensors")
    assert all(value.dtype == np.float16 for value in weights.values())
    assert sum(value.size for value in weights.values()) == measured["parameters"]
    rows = [json.loads(line) for line in (tmp_path / "prose.log.jsonl").read_text().splitlines()]
    assert rows[-1]["tokens"] == measured["training_tokens"]
    for name in ("summary_rouge_l", "fr_chrf", "it_chrf", "de_chrf", "answer-section_f1"):
        found = measured[name]
        assert isinstance(found, dict) and set(found) == {"greedy", "sampled"}
        assert all(0 <= value <= 1 for value in found.values())
    assert sum(name[:-2] in SHOWN for name in measured) == sum(
        min(number, len([1 for kind in data.kind[data.held_out] if data.kinds[kind] == name]))
        for name, number in SHOWN.items()
    )
    before = file_digest(tmp_path / "out" / "prose.safetensors")
    build(tmp_path / "out", tmp_path, 3_000, lists=lists, shape=SMALL)
    assert file_digest(tmp_path / "out" / "prose.safetensors") == before


def test_what_is_written_is_the_likeliest_or_drawn(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Nano(SMALL)
    with torch.no_grad():
        model.embedding.weight[0] += 0.05 * torch.randn(SMALL.width)
    save_file({name: value.half() for name, value in model.state_dict().items()}, tmp_path / "weights")
    reference = reference_of(tmp_path / "weights", SMALL.heads, SMALL.context)
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12]]
    for prompt, text in zip(prompts, written(reference, prompts, 8, None), strict=True):
        tokens = list(prompt)
        for token in [*text, 0][:8]:
            row = reference.model(torch.tensor([[0, *tokens]]))[0, -1]
            assert row.argmax() == token
            tokens.append(token)
    drawn = [written(reference, prompts, 8, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(0 < token < SMALL.vocab_size for text in drawn[0] for token in text)


def test_the_network_that_is_to_ship_is_of_the_size_that_was_asked_for() -> None:
    parameters = sum(each.numel() for each in Nano(SHAPE).parameters())
    assert 4e6 <= parameters <= 8e6
