"""The checkpoint file of a training: the merges so far, and which training they belong to."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.config import TieBreak
from tokenizer.kernels.merge_state import NUM_MERGES, MergeState
from tokenizer.training.counts import PretokenCounts

logger = logging.getLogger(__name__)


class SavedMerges(NamedTuple):
    """The arrays of `MergeState` from which all others can be made again."""

    cells: NDArray[np.int32]
    merge_left: NDArray[np.int32]
    merge_right: NDArray[np.int32]
    merge_count: NDArray[np.int64]


@dataclass(frozen=True)
class MergeCheckpoint:
    """A file that holds the state of one training."""

    path: Path

    identity: str
    """Hash of the counts and the rule for ties; the file of another training is not used."""

    def load(self, num_merges: int) -> SavedMerges | None:
        """Return what was saved; None without a file, or when it is of no use for `num_merges`."""
        if not self.path.exists():
            return None
        with np.load(self.path, allow_pickle=False) as saved:
            if str(saved["identity"]) == self.identity and len(saved["merge_left"]) <= num_merges:
                return SavedMerges(*(saved[name] for name in SavedMerges._fields))
        logger.info("the checkpoint %s is of another training; starting anew", self.path)
        return None

    def save(self, state: MergeState) -> None:
        """Write the file under a temporary name, then rename it."""
        num_merges = int(state.sizes[NUM_MERGES])
        temporary = self.path.with_name(self.path.name + ".tmp")
        with temporary.open("wb") as file:
            np.savez(
                file,
                identity=np.array(self.identity),
                cells=state.cells,
                merge_left=state.merge_left[:num_merges],
                merge_right=state.merge_right[:num_merges],
                merge_count=state.merge_count[:num_merges],
            )
        temporary.replace(self.path)


def training_identity(counts: PretokenCounts, tie_break: TieBreak) -> str:
    """Return the hash of what decides the merges."""
    digest = hashlib.sha256(tie_break.encode())
    for array in (counts.data, counts.offsets, counts.counts):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
