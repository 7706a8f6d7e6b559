"""The shipped transformer as a ``transformers`` model: in memory, or as a folder for other people's code.

A folder, because trainers load their frozen reference anew from the path that the model came from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from klrl_envs.assets import asset_path
from klrl_envs.reference.model_folder import write_folder
from klrl_envs.reference.transformer import START_TOKEN

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from klrl_envs.reference.nano import Nano


def to_llama(model: Nano) -> LlamaForCausalLM:
    """A ``LlamaForCausalLM`` with the same weights and, up to rounding, the same logits."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = model.config
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.context,
            rms_norm_eps=config.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )
    state = {
        "model.embed_tokens.weight": model.embedding.weight,
        "lm_head.weight": model.embedding.weight,
        "model.norm.weight": model.norm.weight,
    }
    for number, block in enumerate(model.layers):
        query, key, value = block.query_key_value.weight.chunk(3)
        gate, up = block.gate_up.weight.chunk(2)
        parts = {
            "input_layernorm": block.attention_norm.weight,
            "post_attention_layernorm": block.feed_forward_norm.weight,
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": block.attention_out.weight,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": block.down.weight,
        }
        state |= {f"model.layers.{number}.{name}.weight": weight for name, weight in parts.items()}
    llama.load_state_dict(state)
    return llama.eval()


def save_folder(model: Nano, folder: str | Path, *, force: bool = False) -> Path:
    """Write a network as a folder that ``AutoModelForCausalLM`` and ``AutoTokenizer`` load; return its path.

    The tokenizer has nano's tokens, and puts token 0 before every text, as the reference does: it is the
    beginning, the end and the padding. With ``add_special_tokens=False`` it gives what
    ``nano_vocabulary().encode`` does. ``generate`` samples from the model itself: no top-k, no top-p.

    Args:
        model: of nano's vocabulary: nano itself, or what a training made of it.
        folder: see ``klrl_envs.reference.model_folder.write_folder``, as for what is raised.
        force: likewise.
    """

    def write(fresh: Path) -> None:
        save_weights(model, fresh)
        save_tokenizer(fresh, longest=model.config.context)

    return write_folder(folder, write, force=force)


def save_weights(model: Nano, folder: Path) -> None:
    """config.json, model.safetensors in float32, and generation_config.json of plain sampling."""
    import torch
    from transformers import GenerationConfig

    with cast(Any, torch.random).fork_rng(devices=[]):  # weights that are drawn here are replaced at once
        llama = cast(Any, to_llama(model))
    llama.generation_config = GenerationConfig(
        bos_token_id=START_TOKEN, eos_token_id=START_TOKEN, pad_token_id=START_TOKEN,
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
    )  # fmt: skip
    llama.save_pretrained(folder)


def save_tokenizer(folder: Path, *, longest: int) -> None:
    """tokenizer.json and tokenizer_config.json: nano's tokens, preceded by the start token.

    Args:
        folder: is there.
        longest: positions of the longest text, the start token among them.
    """
    rules: dict[str, Any] = json.loads(asset_path("nano.tokenizer.json").read_text("utf-8"))
    end = next(each["content"] for each in rules["added_tokens"] if each["id"] == START_TOKEN)
    start, text = {"SpecialToken": {"id": end, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    other = [{kind: {**part, "type_id": 1}} for each in (start, text) for kind, part in each.items()]
    other[1]["Sequence"]["id"] = "B"
    rules["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, *other],
        "special_tokens": {end: {"id": end, "ids": [START_TOKEN], "tokens": [end]}},
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "add_bos_token": True,
        "model_max_length": longest,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
    }
    for name, content in (("tokenizer.json", rules), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
