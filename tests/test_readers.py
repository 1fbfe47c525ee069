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
    ("name", "file", "start"),
    [
        ("tokenizer.json", "tokenizer.json", b""),
        ("model config", "config.json", b""),
        ("record", "record.json", b""),
        ("TOML", "run.toml", b"a = "),
    ],
)
def test_nesting_without_end_is_refused(name: str, file: str, start: bytes, tmp_path: Path) -> None:
    """Python's readers of JSON and TOML call themselves for each bracket."""
    with pytest.raises(ValueError, match=r"\S"):
        READERS[name].read({file: start + b"[" * 100_000}, tmp_path)


def test_a_shard_whose_header_is_cut_off_is_refused(tmp_path: Path) -> None:
    """NumPy reads the header as Python, and raises what Python does, or says it in two lines."""
    reader = READERS["shard"]
    (data,) = reader.make(tmp_path).values()
    long = data[:8] + (60_000).to_bytes(2, "little") + b" " * 60_000
    for damaged in (data.replace(b"}", b" "), b"", long):
        with pytest.raises(ValueError, match="not a whole") as error:
            reader.read({"shard.npy": damaged}, tmp_path)
        assert "\n" not in str(error.value)
