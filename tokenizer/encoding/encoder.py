"""What the fast and the general encoder have in common."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_MAX_UINT16_IDS = 2**16


class Encoder(Protocol):
    """Bytes to token ids with one vocabulary, special tokens included."""

    def encode(self, data: bytes) -> list[int]:
        """Return the token ids of a whole text."""

    def encode_window(
        self,
        data: NDArray[np.uint8],
        length: int,
        out: NDArray[np.unsignedinteger],
        separator: bytes,
    ) -> tuple[int, NDArray[np.int64]]:
        """Write the ids of data[:length] to `out`; return their number and the separators' ends.

        Each thread needs an encoder of its own for this.

        Args:
            data: The window, with `PADDING_BYTES` more bytes after it.
            length: Bytes of the window.
            out: As long as `data`, of the type `id_dtype`.
            separator: A special token; the second result is the places in `out` after it.
        """


def id_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """Return the type of ids on disk: little-endian uint16, or uint32 for more than 65,536 ids."""
    return np.dtype("<u2" if vocab_size <= _MAX_UINT16_IDS else "<u4")
