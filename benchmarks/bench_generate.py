"""Greedy generation with a KV cache against transformers' `generate`, same weights, same tokens.

Both sides run in one process, in turns. Prints one JSON line with medians and ratios, by wall
clock and by processor time, and the factor that the cache itself gives.

    python -m benchmarks.bench_generate
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from benchmarks.bars import Bar
from benchmarks.result_line import print_result
from lm.config import GenerateConfig, ModelConfig
from lm.generate import generate_batch
from lm.model.transformer import TransformerLM

MODEL = ModelConfig()  # the course's: V 10,000, T 256, d 512, 4 layers, 16 heads, d_ff 1,344
PROMPT_LENGTH = 16
NEW_TOKENS = 224  # to 240 of 256 positions

# Our names to Llama's.
RENAMES = {
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

Tokens = list[list[int]]


def llama_of(model: TransformerLM) -> Any:
    """Return Llama with the model's weights; its RoPE pairs halves where ours pairs neighbours."""
    config = model.config
    peer: Any = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            max_position_embeddings=config.context_length,
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=False,
        )
    )
    state = {}
    for name, tensor in model.state_dict().items():
        renamed = name
        for ours, theirs in RENAMES.items():
            renamed = renamed.replace(ours, theirs)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            pairs = tensor.view(-1, config.d_head // 2, 2, config.d_model)
            tensor = pairs.transpose(1, 2).reshape(tensor.shape)
        state[renamed] = tensor
    peer.load_state_dict(state)
    peer.eval()
    return peer


def timed(run: Callable[[], Tokens]) -> tuple[float, float]:
    """Return the wall and processor seconds of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(batch_size: int, turns: int) -> dict[str, Any]:
    """Generate in turns; return speeds and ratios, and whether the tokens are the same."""
    model = TransformerLM(MODEL, generator=torch.Generator().manual_seed(0))
    peer = llama_of(model)
    prompts = [list(range(10 + row, 10 + row + PROMPT_LENGTH)) for row in range(batch_size)]
    config = GenerateConfig(max_new_tokens=NEW_TOKENS, temperature=0.0)
    ids = torch.tensor(prompts)

    def ours(*, use_cache: bool = True) -> Tokens:
        seeds = [0] * batch_size
        return generate_batch(model, prompts, config=config, seeds=seeds, use_cache=use_cache)

    def theirs() -> Tokens:
        output = peer.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
        tokens: Tokens = output[:, PROMPT_LENGTH:].tolist()
        return tokens

    is_same = ours() == theirs()
    times = [(timed(ours), timed(theirs)) for _ in range(turns)]
    uncached_s = timed(lambda: ours(use_cache=False))[0]
    wall, processor = (
        [statistics.median(pair[side][clock] for pair in times) for side in (0, 1)]
        for clock in (0, 1)
    )
    count = batch_size * NEW_TOKENS
    speeds = {"ours": round(count / wall[0]), "transformers": round(count / wall[1])}
    against_peer = round(wall[1] / wall[0], 2)
    against_no_cache = round(uncached_s / wall[0], 2)
    name = f"greedy generation, batch {batch_size}: tokens/s, ours /"
    return {
        "batch_size": batch_size,
        "same_tokens": is_same,
        "tokens_per_second": speeds,
        "bars": [
            Bar(f"{name} transformers", against_peer, 1.15, at_most=False).to_json(),
            Bar(f"{name} without a cache", against_no_cache, 5.0, at_most=False).to_json(),
        ],
        "speed_against_transformers": against_peer,
        "speed_against_transformers_by_processor_time": round(processor[1] / processor[0], 2),
        "speed_against_no_cache": against_no_cache,
    }


def main() -> None:
    """Compare at batch 1 and 8."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its own
    results = [compare(batch_size, arguments.turns) for batch_size in (1, 8)]
    result = {
        "benchmark": "generate",
        "threads": arguments.threads,
        "new_tokens": NEW_TOKENS,
        "bars": [bar for row in results for bar in row.pop("bars")],
        "results": results,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    print_result(result)


if __name__ == "__main__":
    main()
