"""Filling the arrays of the merge loop before its first merge."""

import numpy as np
from numpy.typing import NDArray

from tokenizer.kernels.jit import kernel
from tokenizer.kernels.merge_state import NUM_PAIRS, MergeState
from tokenizer.kernels.pair_table import enter_pair


@kernel
def fill_cells(
    cells: NDArray[np.int32], data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> None:
    """Write each pretoken's bytes as token ids, one cell apart from the next."""
    for word in range(len(offsets) - 1):
        for i in range(offsets[word], offsets[word + 1]):
            cells[i + word + 1] = data[i]


@kernel
def fill_table(state: MergeState) -> None:
    """Enter every pair into the empty table."""
    for pair in range(state.sizes[NUM_PAIRS]):
        enter_pair(state.table, state.pair_left[pair], state.pair_right[pair], pair)
