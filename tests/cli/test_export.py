"""`klrl export`: a folder that other people's code loads."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.reference.byte_pairs import nano_vocabulary
from klrl_envs.reference.hub import hub_reference
from klrl_envs.reference.transformer import nano_reference
from tests.cli.commands import klrl, refused, succeeded

TEXTS = [
    "",
    "A good film.",
    " It’s café <|end|> naïve \U0001f600\n\n  two  spaces",
    "\ufffd a",
    "x" * 50,
    " .",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("exports") / "deep" / "nano"
    assert str(path) in succeeded(klrl("export", "nano", str(path)))
    return path


def test_nothing_is_left_beside_the_folder(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["nano"]
    names = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert {path.name for path in folder.iterdir()} == names | {"tokenizer_config.json"}


def test_the_tokenizer_is_that_of_nano_behind_its_start_token(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocabulary = nano_vocabulary()
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 0
    for text, ids in zip(TEXTS, tokenizer(text=TEXTS)["input_ids"]):
        assert tokenizer.encode(text, add_special_tokens=False) == vocabulary.encode(text)
        assert ids == [0, *vocabulary.encode(text)]
    for row in np.random.default_rng(0).integers(0, 2048, (500, 12)).tolist():
        assert tokenizer.decode(row, skip_special_tokens=True) == vocabulary.decode(row)


def test_as_a_reference_it_is_nano(folder):
    reference, nano = hub_reference(str(folder)), nano_reference()
    assert (reference.start_token, reference.end_token, reference.longest) == (0, 0, nano.longest)
    lanes, rng = nano.lanes(16, 24), np.random.default_rng(1)
    tokens = np.zeros((16, 24), dtype=np.int64)
    lanes.reset(np.arange(16), tokens[:, :0], np.zeros(16, dtype=np.int64))
    for column in range(24):
        rows = lanes.log_probs().astype(np.float64)
        tokens[:, column] = (rows + rng.gumbel(size=rows.shape)).argmax(axis=1)
        lanes.step(tokens[:, column], np.ones(16, dtype=np.bool_))
    first, lengths = np.zeros(16, dtype=np.int64), np.full(16, 24)
    expected = nano.sequence_log_probs(tokens, first, lengths)
    np.testing.assert_allclose(reference.sequence_log_probs(tokens, first, lengths), expected, atol=1e-5)


def test_generate_samples_from_the_model_itself(folder):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    start = torch.zeros((400, 1), dtype=torch.int64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=1)[:, 1]
    with torch.inference_mode():
        likely = model(start[:1]).logits[0, -1].topk(50).indices
    assert not torch.isin(drawn, likely).all(), "the default of transformers would keep the 50 likeliest"


def test_a_folder_with_files_is_kept(folder, tmp_path):
    refused(klrl("export", "nano", str(folder)), "has files")
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    refused(klrl("export", "nano", str(own)), "has files")
    refused(klrl("export", "nano", str(own), "--force"), "no exported model")
    refused(klrl("export", "nano", str(own / "thesis.txt")), "is a file")
    assert (own / "thesis.txt").read_text() == "years of work"
    refused(klrl("export", "giant", str(own)), "got 'giant'")


def test_force_replaces_a_model(tmp_path):
    folder = tmp_path / "nano"
    folder.mkdir()
    succeeded(klrl("export", "nano", str(folder)))
    (folder / "config.json").write_text("{}")
    (folder / "stale.txt").write_text("of another model")
    succeeded(klrl("export", "nano", str(folder), "--force"))
    assert "LlamaForCausalLM" in (folder / "config.json").read_text()
    assert not (folder / "stale.txt").exists() and [path.name for path in tmp_path.iterdir()] == ["nano"]
