"""The checkpoint file of a training: the merges so far, and which training they belong to."""

import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokenizer.config import TieBreak
from tokenizer.kernels.merging.merge_state import NUM_MERGES, MergeState
from tokenizer.training.counts import PretokenCounts

logger = logging.getLogger(__name__)


_DAMAGE = (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile)
"""What numpy and zipfile raise for a file that is empty, zeros, cut off or something else."""

_DTYPES = tuple(map(np.dtype, (np.int32, np.int32, np.int32, np.int64)))
"""Types of the saved arrays, in their order."""


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
        try:
            saved = self._read(num_merges)
        except _DAMAGE as error:
            logger.warning("the checkpoint %s is damaged (%r); starting anew", self.path, error)
            return None
        if saved is None:
            logger.info("the checkpoint %s is of another training; starting anew", self.path)
        return saved

    def _read(self, num_merges: int) -> SavedMerges | None:
        with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            if str(saved["identity"]) != self.identity or len(saved["merge_left"]) > num_merges:
                return None
            merges = SavedMerges(*(saved[name] for name in SavedMerges._fields))
        arrays: list[NDArray[Any]] = list(merges)
        if [(array.ndim, array.dtype) for array in arrays] != [(1, dtype) for dtype in _DTYPES]:
            raise ValueError("an array has another shape or type")
        return merges

    def save(self, state: MergeState) -> None:
        """Write the file under a temporary name, wait for the disk, then rename it.

        Without the wait, a power cut can leave an empty file under the name.
        """
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
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def training_identity(counts: PretokenCounts, tie_break: TieBreak) -> str:
    """Return the hash of what decides the merges."""
    digest = hashlib.sha256(tie_break.encode())
    for array in (counts.data, counts.offsets, counts.counts):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
