"""How much of a tokenizer's training the merge loop is, and how far threads could take it.

    python -m benchmarks.merge_threads TEXT --vocab-size 32000

The loop is serial: each merge needs the counts that the last one left. Within a merge threads could
share the visits of the pair's places, and would wait for each other three times (visits, counts of
the new pairs, places of the new pairs). The time of a merge is taken as a fixed part (heap, tables)
and a part for each place, fitted to the times of 64 merges each. The bound assumes that the second
part is shared evenly, and a merge is shared only where that is faster. Seconds are the processor's.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.result_line import print_result
from tokenizer.kernels.merging.merge_loop import run_merges
from tokenizer.kernels.merging.merge_state import NUM_MERGES, MergeState
from tokenizer.kernels.merging.pair_heap import peek_best
from tokenizer.training.count import count_pretokens
from tokenizer.training.merge_setup import initial_state, with_pairs, with_room

THREADS = (2, 4, 16)
CHUNK = 64
CLASSES = (100, 1_000, 10_000, 100_000)
"""Least number of places of a pair in the distinct pretokens."""


def main() -> None:
    """Time counting and each merge, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--wait-us", type=float, default=2.0, help="threads meet once, assumed")
    options = parser.parse_args()
    count_pretokens(options.text, special_tokens=["<|endoftext|>"])  # loads the kernels
    started = time.process_time()
    counts = count_pretokens(options.text, special_tokens=["<|endoftext|>"])
    counted = time.process_time()
    num_merges = options.vocab_size - 257
    state = initial_state(counts, num_merges, "lexicographic")
    places = places_of_merges(with_pairs(state), num_merges)
    state = initial_state(counts, num_merges, "lexicographic")
    begun = time.process_time()
    state = with_pairs(state)
    built = time.process_time()
    seconds = seconds_of_chunks(state, num_merges)
    fixed_s, place_s = fitted(places, seconds)
    serial_s, shared_s = fixed_s * num_merges, place_s * places
    merge_s = float(seconds.sum())
    print_result(
        {
            "text": options.text.name,
            "merges": num_merges,
            "count_s_1_thread": round(counted - started, 3),
            "build_s": round(built - begun, 3),
            "merge_s": round(merge_s, 3),
            "fixed_ns_a_merge": round(1e9 * fixed_s),
            "ns_a_place": round(1e9 * place_s, 1),
            "fitted_over_measured": round((serial_s + shared_s.sum()) / merge_s, 3),
            "places_share_by_least_places": by_places(places),
            "merge_share_if_counting_scales": {
                threads: round(
                    merge_s / ((counted - started) / threads + built - begun + merge_s), 3
                )
                for threads in (1, *THREADS)
            },
            "merge_speedup_at_most": {
                threads: round(
                    (serial_s + shared_s.sum())
                    / (serial_s + fastest(shared_s, threads, 3e-6 * options.wait_us)),
                    2,
                )
                for threads in THREADS
            },
        }
    )


def places_of_merges(state: MergeState, num_merges: int) -> NDArray[np.int64]:
    """Make all merges one at a time; return how many places each one visits."""
    places = []
    while (done := int(state.sizes[NUM_MERGES])) < num_merges:
        pair = peek_best(state)
        if pair == -1:
            raise SystemExit(f"the text has only {done} merges; ask for a smaller --vocab-size")
        places.append(int(state.run_length[pair]) if pair >= 0 else 0)
        while int(state.sizes[NUM_MERGES]) == done:
            state = with_room(state, run_merges(state, done + 1, True))
    return np.array(places)


def seconds_of_chunks(state: MergeState, num_merges: int) -> NDArray[np.float64]:
    """Make all merges; return the time of each `CHUNK` of them."""
    seconds = []
    for target in [*range(CHUNK, num_merges, CHUNK), num_merges]:
        started = time.process_time()
        while int(state.sizes[NUM_MERGES]) < target:
            state = with_room(state, run_merges(state, target, True))
        seconds.append(time.process_time() - started)
    return np.array(seconds)


def fitted(places: NDArray[np.int64], seconds: NDArray[np.float64]) -> tuple[float, float]:
    """Return the seconds of a merge without its places, and of a place, by least squares."""
    starts = np.arange(0, len(places), CHUNK)
    sizes = np.diff([*starts, len(places)])
    (fixed_s, place_s), _ = nnls(
        np.column_stack([sizes, np.add.reduceat(places, starts)]).astype(np.float64), seconds
    )
    return float(fixed_s), float(place_s)


def by_places(places: NDArray[np.int64]) -> dict[int, float]:
    """Return the share of all places that merges of at least so many have."""
    total = places.sum()
    return {least: round(float(places[places >= least].sum() / total), 3) for least in CLASSES}


def fastest(seconds: NDArray[np.floating[Any]], threads: int, wait_s: float) -> float:
    """Return the least time of all merges' places where each may be shared by threads."""
    return float(np.minimum(seconds, seconds / threads + wait_s).sum())


if __name__ == "__main__":
    main()
