"""The whole model: names, shapes, options, equality with a peer of the same weights."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from lm.config import ModelConfig
from lm.model.transformer import TransformerLM, plain_state_dict

TINY: Mapping[str, Any] = {
    "vocab_size": 50,
    "context_length": 16,
    "d_model": 32,
    "num_layers": 2,
    "num_heads": 4,
    "d_ff": 48,
}


def build(**changes: Any) -> TransformerLM:
    return TransformerLM(
        ModelConfig(**{**TINY, **changes}), generator=torch.Generator().manual_seed(0)
    )


def token_ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(1))


def test_state_dict_has_the_courses_names() -> None:
    """The state dict names and shapes are those of the course."""
    shapes = {
        name: tuple(tensor.shape) for name, tensor in build(num_layers=1).state_dict().items()
    }
    assert shapes == {
        "token_embeddings.weight": (50, 32),
        "layers.0.attn.q_proj.weight": (32, 32),
        "layers.0.attn.k_proj.weight": (32, 32),
        "layers.0.attn.v_proj.weight": (32, 32),
        "layers.0.attn.output_proj.weight": (32, 32),
        "layers.0.ln1.weight": (32,),
        "layers.0.ffn.w1.weight": (48, 32),
        "layers.0.ffn.w2.weight": (32, 48),
        "layers.0.ffn.w3.weight": (48, 32),
        "layers.0.ln2.weight": (32,),
        "ln_final.weight": (32,),
        "lm_head.weight": (50, 32),
    }


def test_wrapper_prefixes_are_stripped() -> None:
    """A state taken from a compiled or distributed model loads into a bare one."""
    state = build().state_dict()
    wrapped = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
    assert plain_state_dict(wrapped).keys() == state.keys()
    build().load_state_dict(plain_state_dict(wrapped))


@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 16)])
def test_any_leading_dimensions_and_short_inputs(shape: tuple[int, ...]) -> None:
    """Inputs may have any leading dimensions and be shorter than the context."""
    model = build()
    logits = model(token_ids(*shape))
    assert logits.shape == (*shape, 50)


def test_a_shorter_input_gives_the_prefix_of_the_logits() -> None:
    """The logits of a prefix are the prefix of the logits."""
    model, ids = build(), token_ids(2, 16)
    torch.testing.assert_close(model(ids[:, :7]), model(ids)[:, :7], rtol=1e-5, atol=1e-5)


def test_too_long_inputs_are_refused() -> None:
    """More tokens than the context is an error that says what to do."""
    with pytest.raises(
        ValueError, match=r"input of 17 tokens is longer than context_length \(16\)"
    ):
        build()(token_ids(1, 17))


def test_one_generator_gives_one_model() -> None:
    """The initial weights depend on the generator only."""
    torch.manual_seed(123)
    first = build().state_dict()
    torch.manual_seed(456)
    for name, tensor in build().state_dict().items():
        torch.testing.assert_close(tensor, first[name], rtol=0, atol=0)


OPTIONS: list[dict[str, Any]] = [
    {"norm": "post"},
    {"norm": "none"},
    {"position": "none"},
    {"ffn": "silu"},
    {"ffn": "relu2"},
    {"qk_norm": True},
    {"tie_embeddings": True},
    {"num_kv_heads": 2},
    {"logit_softcap": 1.0},
    {"zero_init_output": True},
    {"value_residual": True},
    {"rope_theta": 100.0},
    {"norm_eps": 0.1},
]


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_each_option_changes_the_logits_at_step_0(changes: dict[str, Any]) -> None:
    """No option is dead: each changes the logits of the untrained model, and trains."""
    ids = token_ids(2, 16)
    model = build(**changes)
    logits = model(ids)
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits, build()(ids), rtol=1e-3, atol=1e-3)
    torch.autograd.backward(logits.square().mean())
    assert all(p.grad is not None for p in model.parameters())


def test_zero_initialised_blocks_start_as_identity() -> None:
    """With zero output projections the hidden states are the normalised embeddings."""
    model, ids = build(zero_init_output=True), token_ids(2, 8)
    assert model.ln_final is not None
    torch.testing.assert_close(
        model.hidden_states(ids), model.ln_final(model.token_embeddings(ids)), rtol=0, atol=0
    )


def test_tied_embeddings_start_with_logits_of_unit_scale() -> None:
    """Tied weights are one matrix, and the first logits are about as large as untied ones."""
    tied = build(tie_embeddings=True, d_model=256, num_heads=4, vocab_size=1000)
    assert "lm_head.weight" not in tied.state_dict()
    assert 0.5 < float(tied(token_ids(4, 16)).detach().std()) < 2.0


def test_logits_equal_llamas_of_the_same_weights() -> None:
    """Transformers' Llama with our weights gives our logits (its RoPE pairs halves)."""
    transformers = pytest.importorskip("transformers")
    model, ids = build(num_kv_heads=2), token_ids(2, 16)
    peer = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=16,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=False,
        )
    ).eval()
    peer.load_state_dict(llama_state(model))
    with torch.no_grad():
        torch.testing.assert_close(model(ids), peer(ids).logits, rtol=1e-4, atol=1e-5)


def llama_state(model: TransformerLM) -> dict[str, torch.Tensor]:
    """Rename to Llama's keys; rows of q and k go from interleaved pairs to halves."""
    renames = {
        "token_embeddings": "model.embed_tokens",
        "ln_final": "model.norm",
        "layers.": "model.layers.",
        ".attn.": ".self_attn.",
        "output_proj": "o_proj",
        "ln1": "input_layernorm",
        "ln2": "post_attention_layernorm",
        "ffn.w1": "mlp.gate_proj",
        "ffn.w2": "mlp.down_proj",
        "ffn.w3": "mlp.up_proj",
    }
    d_head = model.config.d_head
    state = {}
    for name, tensor in model.state_dict().items():
        new = name
        for ours, theirs in renames.items():
            new = new.replace(ours, theirs)
        is_rotated = name.endswith(("q_proj.weight", "k_proj.weight"))
        state[new] = (
            tensor.view(-1, d_head // 2, 2, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
            if is_rotated
            else tensor
        )
    return state
