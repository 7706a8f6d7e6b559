"""``prose``: a vocabulary of words and slots, and a transformer that summarises, translates and answers.

Recipe: the descriptions of Debian's packages become examples, the commonest words of these a vocabulary, and
a network reads a given number of their tokens. Lists, examples and checkpoints stay in the folder of
checkpoints, so that a build that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from tqdm import tqdm

from klrl_envs.assets.build.debian_lists import Lists, fetch
from klrl_envs.assets.build.examples import Encoded, choose_vocabulary, count_by_kind, ruler
from klrl_envs.assets.build.formats import Example, examples
from klrl_envs.assets.build.packages import load_packages
from klrl_envs.assets.build.prose_measures import quality
from klrl_envs.assets.build.prose_training import Run, Settings, held_out_losses
from klrl_envs.assets.build.recipe import Asset, Recipe
from klrl_envs.reference.nano import NanoConfig
from klrl_envs.reference.prose import CONTEXT, HEADS, VOCABULARY, WEIGHTS, WIDTH, reference_of
from klrl_envs.reference.slot_words import SlotVocabulary

SEED = 0
TOKENS = 10_000_000
HELD_OUT = "prose.held_out.json"
MEASURED = 512
"""Held-out examples of each kind that the card's nats are of."""
SHAPE = NanoConfig(vocab_size=8_192, width=WIDTH, layers=4, heads=HEADS, hidden=704, context=CONTEXT)


def prepared(lists: Lists, out: Path, work: Path, size: int) -> tuple[SlotVocabulary, Encoded]:
    """The vocabulary, of ``size`` tokens, and the examples in it; made once, then read."""
    encoded, words = work / "prose.examples.safetensors", out / VOCABULARY
    if not (encoded.exists() and words.exists() and (work / HELD_OUT).exists()):
        texts = list(tqdm(examples(load_packages(lists), ruler(), SEED), desc="examples", unit="example"))
        choose_vocabulary(texts, size).save(words)
        held_out = [vars(text) for text in texts if text.held_out and text.prompt]
        (work / HELD_OUT).write_text(json.dumps(held_out, ensure_ascii=False, indent=0), "utf-8")
        Encoded.of(texts, SlotVocabulary.load(words)).save(encoded)
    return SlotVocabulary.load(words), Encoded.load(encoded)


def build(
    out: Path, work: Path, tokens: int = TOKENS, *, lists: Lists | None = None, shape: NanoConfig = SHAPE
) -> dict[str, object]:
    """Write ``prose.vocabulary.json`` and ``prose.safetensors`` to ``out``; return the card's measurements.

    Args:
        out: folder of the files.
        work: folder of lists, examples (those that are held out as texts, too), checkpoint and log
            (``prose.log.jsonl``, a row a checkpoint).
        tokens: that the network reads.
        lists: of descriptions; None for those of the release that a mirror has.
        shape: of the network.
    """
    lists = fetch(work / "debian") if lists is None else lists
    vocabulary, data = prepared(lists, out, work, shape.vocab_size)

    def report(row: Mapping[str, object]) -> None:
        with (work / "prose.log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")
        tqdm.write(f"after {row['tokens']:,} tokens, nats a token held out: {row['held_out']}")

    run = Run(Settings(shape, tokens, SEED, work), data)
    state = {name: value.half().contiguous() for name, value in run.train(report).state_dict().items()}
    save_file(state, out / WEIGHTS)
    reference = reference_of(out / WEIGHTS, shape.heads, shape.context)
    held_out = [
        Example(each["kind"], each["prompt"], tuple(each["answers"]), each["held_out"])
        for each in json.loads((work / HELD_OUT).read_text("utf-8"))
    ]
    return {
        "parameters": sum(parameter.numel() for parameter in reference.model.parameters()),
        "vocabulary": vocabulary.size,
        "training_tokens": sum(int(data.lengths[batch].sum()) for batch in run.batches),
        "training_hours": round(run.seconds / 3600, 2),
        "release": lists.release,
        "sha256_of_the_lists": lists.digests,
        "examples": count_by_kind(data, held_out=False),
        "held_out_examples": count_by_kind(data, held_out=True),
        "held_out_nats_per_token": held_out_losses(reference.model, data, MEASURED),
        "held_out_unknown_share_of_answers": unknown_share(data, vocabulary),
        **quality(reference, vocabulary, held_out),
    }


def unknown_share(data: Encoded, vocabulary: SlotVocabulary) -> float:
    """The share of the unknown among the tokens of the held-out answers."""
    position = np.arange(len(data.tokens)) - np.repeat(data.starts[:-1], data.lengths)
    answer = np.repeat(data.held_out & (data.prompts > 0), data.lengths)
    answer &= position >= np.repeat(data.prompts, data.lengths)
    return round(float((data.tokens[answer] == vocabulary.unknown_token).mean()), 4)


CARD = """\
# prose: a small language model of software descriptions

The reference of the tasks that summarise, translate and answer: a Llama-style transformer (RMSNorm, rotary
positions, SwiGLU, tied embeddings; width 256, 4 layers, 4 heads, context 192) over words and slots: the
commonest words, marks and separators have tokens of their own, and the rarer words of a prompt sixteen slots.
Token 0 is the end of a text. The weights are float16 numbers; the task is defined by them, read as float32.

## Data
The descriptions of the packages of Debian, main, as `apt` lists them: English by the packages' maintainers,
and French, Italian and German by the translators of the Debian Description Translation Project; sections,
relations and debtags of the same packages. Each description is under the licence of its package, and a
translation under that of what it translates: there is no one licence (MIT is this library's own). This file
holds weights and words, not the texts. A package counts once where others have its description; a family (the
packages of a source, and those whose descriptions begin alike) is held out as a whole or not at all
(`klrl_envs/assets/build/packages.py`). The lists move with every release: `release` and the digests below
say which were used.

## Recipe
`klrl_envs/assets/build/prose.py`:
texts of four formats (`formats.py`, `questions.py`); loss weight .3 on prompts and prose, 1 on answers and
0 on unknown words, which the network thus learns not to write; Muon for the matrices of the blocks and AdamW
for the rest; a cosine to zero (`prose_training.py`).
$rebuild

## Measured
On the packages of the held-out families, drawn by a seed: nats a token of the answers (of prose the whole
text), end token included and unknown words left out, of 512 texts of each kind; ROUGE-L F1 of summaries, chrF
of translations and token F1 of answers of 256, greedy and sampled; and ten texts, none of them chosen, beside
the people's.

$measured

## Limits
It knows the words of software and little of the world. A summary is often right about the kind of thing and
wrong about which; names beyond a prompt's first sixteen rare words cannot be written. It has not seen
positions above 192 tokens.

## Files
$files
"""


def recipe(tokens: int = TOKENS) -> Recipe:
    """The recipe with a training that reads so many tokens."""
    return Recipe(
        name="prose",
        assets=(Asset("prose", (VOCABULARY, WEIGHTS), CARD),),
        takes=f"{TOKENS:,} tokens take about an hour and a half on 2 CPU cores",
        reads=(),
        build=lambda out, work: {"prose": build(out, work, tokens)},
        reading=recipe,
    )


RECIPE = recipe()
