"""The shipped transformer as a ``transformers`` model, for other people's code and for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
