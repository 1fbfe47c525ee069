"""Whatever reads a file takes it or refuses it in one line: a little of the fuzzing campaign."""

from pathlib import Path

import pytest

from benchmarks.fuzz_readers import run_batch
from benchmarks.readers import READERS


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_damaged_files_are_taken_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    """Never another error, and never several lines."""
    reader = READERS[name]
    sound = reader.make(tmp_path)
    reader.read(sound, tmp_path)
    found = run_batch(name, reader, sound, batch=0, folder=tmp_path, count=60)
    # In tests jaxtyping checks the types in lm first, in many lines.
    problems = [line for line in found["problems"] if "Type-check error" not in line]
    assert problems == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("tokenizer.json", "tokenizer.json"),
        ("model config", "config.json"),
        ("record", "record.json"),
    ],
)
def test_nesting_without_end_is_refused(name: str, file: str, tmp_path: Path) -> None:
    """Python's reader of JSON calls itself for each bracket."""
    with pytest.raises(ValueError, match=r"\S"):
        READERS[name].read({file: b"[" * 100_000}, tmp_path)


def test_a_shard_whose_header_is_cut_off_is_refused(tmp_path: Path) -> None:
    """NumPy reads the header as Python, and raises what Python does."""
    reader = READERS["shard"]
    (data,) = reader.make(tmp_path).values()
    with pytest.raises(ValueError, match="not a whole"):
        reader.read({"shard.npy": data.replace(b"}", b" ")}, tmp_path)
