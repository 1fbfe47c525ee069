"""Pretoken counts in flat form, and their Parquet files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_BATCH = 2**16
"""Rows that are written to Parquet at once."""


@dataclass(frozen=True, eq=False)
class PretokenCounts:
    """Distinct pretokens in ascending byte order, and how often each occurs.

    Three arrays hold millions of pretokens without millions of Python objects: pretoken i is
    `data[offsets[i] : offsets[i + 1]]`.
    """

    data: NDArray[np.uint8]
    """The bytes of all pretokens, one after the other."""

    offsets: NDArray[np.int64]
    """(n + 1,) where each pretoken starts in `data`, then the end of the last one."""

    counts: NDArray[np.int64]
    """(n,) how often each pretoken occurs; positive."""

    def __len__(self) -> int:
        """Return the number of distinct pretokens."""
        return len(self.counts)

    @property
    def num_pretokens(self) -> int:
        """Return how many pretokens the text has, repeats included."""
        return int(self.counts.sum())

    @property
    def num_bytes(self) -> int:
        """Return how many bytes of the text are in pretokens (all but its special tokens)."""
        return int((np.diff(self.offsets) * self.counts).sum())

    @classmethod
    def from_dict(cls, counts: Mapping[bytes, int]) -> "PretokenCounts":
        """Make the flat form of {pretoken: count}."""
        pretokens = sorted(counts)
        return cls(
            data=np.frombuffer(b"".join(pretokens), dtype=np.uint8),
            offsets=_offsets([len(pretoken) for pretoken in pretokens]),
            counts=np.array([counts[pretoken] for pretoken in pretokens], dtype=np.int64),
        )


def write_counts(counts: PretokenCounts, path: str | Path) -> None:
    """Write a Parquet file with the columns `pretoken` (binary) and `count` (int64)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: list[Any] = [("pretoken", pa.large_binary()), ("count", pa.int64())]
    schema = pa.schema(columns)  # pyarrow's types lose those of the two
    # zstd level 1 gives half the size of snappy at the same speed. A dictionary is of no use,
    # because all values are distinct.
    with pq.ParquetWriter(
        str(path), schema, compression="zstd", compression_level=1, use_dictionary=False
    ) as writer:
        for start in range(0, len(counts), _ROWS_PER_BATCH):
            writer.write_batch(_record_batch(counts, start, schema))


def read_part(path: str | Path) -> PretokenCounts:
    """Read one file of `write_counts`.

    Raises:
        ValueError: The file has other columns or a count below 1.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table: Any = pq.read_table(str(path))  # pyarrow's types know no NumPy array as a buffer
    if table.column_names != ["pretoken", "count"]:
        raise ValueError(
            f"{path} has the columns {table.column_names}, not ['pretoken', 'count']; "
            "give a file that write_counts wrote"
        )
    pretokens = table["pretoken"].cast(pa.large_binary()).combine_chunks()
    if isinstance(pretokens, pa.ChunkedArray):
        pretokens = pretokens.chunk(0)
    counts = table["count"].to_numpy()
    if len(counts) and counts.min() < 1:
        raise ValueError(f"{path} holds the count {counts.min()}; every count must be positive")
    _, offsets, data = pretokens.buffers()
    size = len(pretokens) + 1
    flat_offsets = np.frombuffer(offsets, dtype=np.int64, count=size, offset=pretokens.offset * 8)
    flat = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    return PretokenCounts(
        data=flat[flat_offsets[0] : flat_offsets[-1]],
        offsets=flat_offsets - flat_offsets[0],
        counts=np.ascontiguousarray(counts, dtype=np.int64),
    )


def _record_batch(counts: PretokenCounts, start: int, schema: "pa.Schema") -> "pa.RecordBatch":
    import pyarrow as pa

    stop = min(start + _ROWS_PER_BATCH, len(counts))
    offsets = counts.offsets[start : stop + 1]
    data = counts.data[offsets[0] : offsets[-1]]
    buffers = [offsets - offsets[0], np.ascontiguousarray(data)]
    pretokens = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), stop - start, [None, *map(pa.py_buffer, buffers)]
    )
    return pa.RecordBatch.from_arrays(
        [pretokens, pa.array(counts.counts[start:stop])], schema=schema
    )


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
