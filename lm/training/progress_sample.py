"""A short text at each validation, to see what the weights have learned by then.

The prompt is the beginning of the validation text, and each next token is the most likely one. So
no random number is drawn, and the bits of the training are the same with it and without it.
"""

import numpy as np

from lm.config import GenerateConfig
from lm.data.shards import read_windows
from lm.generate import generate_batch
from lm.training.step.run import TrainingRun

PROMPT_TOKENS = 12
NEW_TOKENS = 48
GREEDY = GenerateConfig(max_new_tokens=NEW_TOKENS, temperature=0.0)


def progress_sample(run: TrainingRun) -> dict[str, list[int]]:
    """Return the prompt and the tokens that the present weights write after it."""
    length = min(PROMPT_TOKENS, run.valid_shards.num_tokens)
    prompt = read_windows(run.valid_shards, np.zeros(1, dtype=np.int64), length)[0].tolist()
    # The plain way: no packed copies of the weights, and no graph recorded between two steps.
    (new,) = generate_batch(
        run.published_model, [prompt], config=GREEDY, seeds=[0], fast=False, fixed_slots=False
    )
    return {"prompt_ids": prompt, "token_ids": new}
