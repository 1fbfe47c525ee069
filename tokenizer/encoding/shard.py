"""A shard file: token ids in NumPy's `.npy` format, written while they are made."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
"""Room for the header, which has the number of ids and so is written last."""


class ShardWriter:
    """Write token ids to an open file, and the header when all are written."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[np.unsignedinteger]) -> None:
        self._file = file
        self.dtype = dtype
        self.num_tokens = 0
        file.write(bytes(_HEADER_BYTES))

    def write(self, ids: NDArray[np.unsignedinteger]) -> None:
        """Write ids after those that were written before."""
        self._file.write(ids.data)
        self.num_tokens += len(ids)

    def finish(self) -> None:
        """Write a version 1.0 header of fixed size at the start of the file.

        Source: NumPy, `numpy/lib/format.py`, "Format Version 1.0".
        """
        shape = f"({self.num_tokens},)"
        header = f"{{'descr': '{self.dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
        prefix = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write(prefix + header.ljust(_HEADER_BYTES - 11).encode("latin-1") + b"\n")
