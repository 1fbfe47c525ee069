"""An entry is checked: one that is sound holds, and every other is refused in a line that says why.

Tests of `tasks/leaderboard/`: the bundle that a run writes, its lineage, and the computed loss.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from artifacts.identity import Reference
from artifacts.store import open_store
from lm.config import RunOptions
from tasks.leaderboard.bundle import write_bundle
from tasks.leaderboard.entry import ENTRY_FILE, LINEAGE_FILE
from tasks.leaderboard.verify import Verified, verify_entry
from tests.tiny_pipeline import shown
from tokenizer.formats.vocabulary import build_vocab, save_vocabulary

ON_CPU = RunOptions(device="cpu", num_threads=1)
LINEAGE = Path(LINEAGE_FILE)
WEIGHTS = Path("model", "model.safetensors")


@pytest.fixture(scope="module")
def bundle(
    first: dict[str, Any], shared_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle of the shared run."""
    evaluation = next(stage for stage in first["stages"] if stage["stage"] == "evaluate")
    store, root = open_store(shared_root / "artifacts"), tmp_path_factory.mktemp("bundle")
    return write_bundle(store, root, Reference.from_json(evaluation), {"model": "tiny"})


@pytest.fixture
def entry(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be tampered with."""
    return Path(shutil.copytree(bundle, tmp_path / "entry"))


def verify(entry: Path, corpus: dict[str, Path], split: str = "valid") -> Verified:
    return verify_entry(entry, corpus[split], options=ON_CPU)


def change(path: Path, changed: Callable[[Any], object]) -> None:
    """Change what a JSON file holds."""
    content = json.loads(path.read_text())
    changed(content)
    path.write_text(json.dumps(content))


def flip_a_byte(entry: Path) -> None:
    data = bytearray((entry / WEIGHTS).read_bytes())
    data[-1] ^= 64
    (entry / WEIGHTS).write_bytes(data)


def scale_a_weight(entry: Path) -> None:
    """Give another model, of which no lineage tells."""
    (entry / LINEAGE).unlink()
    weights = load_file(entry / WEIGHTS)
    weights["lm_head.weight"] *= 1.5
    save_file(weights, entry / WEIGHTS)


def take_bytes_for_tokens(entry: Path) -> None:
    """Give a tokenizer without merges."""
    (entry / LINEAGE).unlink()
    special_tokens = ("<|endoftext|>",)
    save_vocabulary(
        entry / "tokenizer", build_vocab([], special_tokens), [], special_tokens, "gpt2"
    )


def take_a_larger_tokenizer(entry: Path) -> None:
    (entry / LINEAGE).unlink()
    many = tuple(f"<|{number}|>" for number in range(300))
    save_vocabulary(entry / "tokenizer", build_vocab([], many), [], many, "gpt2")


def claim(**values: object) -> Callable[[Path], None]:
    return lambda entry: change(entry / ENTRY_FILE, lambda data: data["claim"].update(values))


def record(stage: str, changed: Callable[[Any], object]) -> Callable[[Path], None]:
    """Change the record of a stage in the lineage."""

    def apply(entry: Path) -> None:
        change(
            entry / LINEAGE,
            lambda records: changed(next(item for item in records if item["stage"] == stage)),
        )

    return apply


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda entry: (entry / name).write_text(text)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (flip_a_byte, r"model.safetensors is not the file of train_lm/\w+: sha256"),
    "another model": (scale_a_weight, r"does not hold: \d\.\d+ nats a token are claimed"),
    "bytes": (take_bytes_for_tokens, r"does not hold: \d+ tokens are claimed, the tokenizer gives"),
    "larger tokenizer": (take_a_larger_tokenizer, "tokenizer and model do not belong together"),
    "tokenizer file": (write("tokenizer/merges.txt", ""), "merges.txt is not the file of train_"),
    "no weights": (lambda entry: (entry / WEIGHTS).unlink(), "model.safetensors is missing"),
    "no tokenizer": (lambda entry: shutil.rmtree(entry / "tokenizer"), "is missing"),
    "no claim": (lambda entry: (entry / ENTRY_FILE).unlink(), "it has no entry.json"),
    "no folder": (shutil.rmtree, "there is no such folder"),
    "loss": (claim(loss=0.5), r"does not hold: 0\.500000 nats a token are claimed"),
    "bits": (claim(bits_per_byte=0.5), r"does not hold: 0\.500000 bits a byte are claimed"),
    "loss as text": (claim(loss="low"), "'loss' is 'low', but must be of type float"),
    "no loss": (claim(loss=None), "'loss' is None"),
    "context": (claim(context_length=99), r"context_length \(99\) must be at most"),
    "no context": (claim(context_length=0), "'context_length' is 0, but must be at least 1"),
    "text": (claim(text_sha256="0" * 64), "the evaluation was made on the text"),
    "no hash": (claim(text_sha256="valid"), "'text_sha256' is 'valid', but must be 64 hex digits"),
    "no JSON": (write(ENTRY_FILE, "{"), "entry.json is not that of an entry"),
    "NaN": (write(ENTRY_FILE, '{"format": NaN}'), "NaN is no JSON"),
    "a list": (write(ENTRY_FILE, "[]"), "a list is no JSON object"),
    "format": (write(ENTRY_FILE, '{"format": 2}'), "'format' is 2, and this version reads 1"),
    "lineage": (write(LINEAGE_FILE, "[1]"), "lineage.json is not that of an entry"),
    "setting": (
        record("train_lm", lambda item: item["config"]["train_lm"].update(seed=5)),
        "settings or inputs of train_lm/[0-9a-f]+ were changed",
    ),
    "record": (
        lambda entry: change(entry / LINEAGE, lambda records: records.pop(0)),
        "lineage.json: download/[0-9a-f]+, .+ is missing",
    ),
    "no evaluation": (
        lambda entry: change(entry / LINEAGE, lambda records: records.pop()),
        "it does not lead from the evaluation to its text",
    ),
}
"""What is done to a sound entry, and what is said of it then."""


def test_a_sound_entry_holds(bundle: Path, corpus: dict[str, Path], first: dict[str, Any]) -> None:
    """The loss of the run is found again, by another way: one shard, the entry's own files."""
    found = verify(bundle, corpus)
    assert found.found.loss == pytest.approx(shown(first, "evaluate")["statistics"]["loss"])
    assert found.text.size_bytes == corpus["valid"].stat().st_size
    assert found.training.endswith("minutes on cpu")
    entry = json.loads((bundle / ENTRY_FILE).read_text())
    assert entry["config"] == {"model": "tiny"}
    assert set(entry["source_hashes"]) >= {"train_tokenizer", "train_lm", "evaluate"}
    assert (bundle / "model" / "metrics.jsonl").read_text().count("\n") > 2


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_told_in_one_line(fault: str, entry: Path, corpus: dict[str, Path]) -> None:
    """Each change of a sound entry is noticed."""
    tamper, message = FAULTS[fault]
    tamper(entry)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        verify(entry, corpus)


def test_another_text_is_refused(entry: Path, corpus: dict[str, Path]) -> None:
    """Both hashes are named."""
    with pytest.raises(ValueError, match=r"another validation text.*[0-9a-f]{64}.*[0-9a-f]{64}"):
        verify(entry, corpus, "train")


def test_a_strangers_model_and_tokenizer_are_enough(entry: Path, corpus: dict[str, Path]) -> None:
    """An entry of other tools has a claim and no lineage; its tokenizer may be Hugging Face's."""
    for name in ("owt.json", "vocab.json", "merges.txt", "ranks.tiktoken"):
        (entry / "tokenizer" / name).unlink()
    (entry / LINEAGE).unlink()
    shutil.rmtree(entry / "evaluation")
    change(entry / ENTRY_FILE, lambda data: data["claim"].pop("num_tokens"))
    assert "made in an unknown way" in verify(entry, corpus).training


def test_weights_that_are_a_pickle_are_not_loaded(
    entry: Path, corpus: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing that is in an entry is run."""
    mark = tmp_path / "ran"

    class Mine:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    (entry / LINEAGE).unlink()
    (entry / WEIGHTS).write_bytes(pickle.dumps(Mine()))
    with pytest.raises(ValueError, match="cannot be read"):
        verify(entry, corpus)
    assert not mark.exists()


def test_a_shape_that_the_weights_do_not_have_takes_no_memory(
    entry: Path, corpus: dict[str, Path]
) -> None:
    """A model of 10^15 parameters is refused by its file's size, before it is built."""
    (entry / LINEAGE).unlink()
    change(
        entry / "model" / "config.json",
        lambda data: data.update(d_model=2**18, num_layers=2**12, num_heads=2, d_ff=2**18),
    )
    with pytest.raises(ValueError, match=r"holds \d+ numbers, config.json describes a model of"):
        verify(entry, corpus)
