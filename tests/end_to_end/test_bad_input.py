"""Bad input ends in one line, with the right exit code, and leaves no half artifact."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from artifacts.store import list_records, open_store
from flows.cli.main import main
from flows.cli.options import typed
from flows.cli.run import complete_hints
from tasks.execution.building import NotBuiltError
from tests.tiny_pipeline import Run

ROOT = Path(__file__).resolve().parents[2]


def mistake(arguments: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command line in this process; return the one line of a user's mistake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", {**os.environ, "OWT_ROOT": str(root)})
        patch.setattr(sys, "argv", [str(ROOT / "flows" / "__main__.py"), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2
    return capsys.readouterr().err


def owt(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"OWT_ROOT": str(root), "PATH": ""},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--preset", "tinystory"], "unknown preset 'tinystory'; did you mean tinystories?"),
        (["run", "--set", "model.d_model=102"], "d_model (102) must be a multiple of num_heads"),
        (["run", "--only", "train"], "unknown stage 'train'; did you mean train_lm?"),
        (
            ["run", "--set", "model.dmodel=1"],
            "unknown key model.dmodel; did you mean model.d_model?",
        ),
        (["sweep", "ablation"], "unknown sweep 'ablation'; did you mean ablations?"),
        (["plan", "--config", "nowhere.toml"], "config file nowhere.toml cannot be read"),
        (
            ["run", "--set", "corpus.train=nowhere.txt"],
            "no file or folder nowhere.txt (corpus.train)",
        ),
        (["artifacts", "show", "nothing"], "'nothing' fits no artifact"),
        (["verify-entry", "nowhere"], "no entry nowhere: there is no such folder"),
        (["generate"], "trains one in minutes: python -m flows run --preset smoke"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no traceback, and no server is started."""
    printed = mistake(arguments, tmp_path, capsys)
    assert message in printed
    assert len(printed.strip().splitlines()) == 1
    assert not (tmp_path / "prefect" / "run-server.log").exists()


def test_the_way_out_of_a_missing_stage_can_be_pasted() -> None:
    """The command has the user's own preset, file and settings."""
    with (
        pytest.raises(ValueError, match="run all stages: ") as caught,
        complete_hints(typed("run", "smoke", Path("my.toml"), ['generate.prompts=["a b"]'])),
    ):
        raise NotBuiltError("no artifact download/ab12; run all stages")
    words = shlex.split(str(caught.value).partition("stages: ")[2])
    assert words[words.index("run") :] == [
        *("run", "--preset", "smoke", "--config", "my.toml"),
        *("--set", 'generate.prompts=["a b"]'),
    ]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    """A developer can ask for it, anywhere on the line."""
    done = owt("run", "--preset", "x", "--debug", root=tmp_path)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("text", "setting", "message"),
    [
        ("", "", "train.txt.*(empty|no document|holds nothing)"),
        (None, "", r"no file or folder .*\(corpus.train\)"),
        ("a few words " * 50, "tokenizer.vocab_size=5000", r"vocab_size \(5000\) is more than"),
        ("word", "tokenizer.vocab_size=257", "window|context_length"),
    ],
)
def test_a_corpus_that_cannot_do_is_named_and_leaves_nothing_behind(
    run: Run,
    settings: list[str],
    tmp_path: Path,
    data_root: Path,
    text: str | None,
    setting: str,
    message: str,
) -> None:
    """The message has the value and the way out; what was published before is whole."""
    path = tmp_path / "train.txt"
    if text is not None:
        path.write_text(text)
    changed = [*settings, f"corpus.train={path}", *filter(None, [setting])]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(changed)
    store = open_store(data_root / "artifacts")
    stages = {record.stage for record in list_records(store)}
    assert "train_lm" not in stages
    assert stages <= {"download", "count_pretokens", "train_tokenizer", "encode_shards"}


class CarelessFilesystem(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A store that takes a conditional PUT for any other, as some servers of S3's protocol do."""

    protocol = "careless"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write, whatever is there."""
        del mode
        super().pipe_file(path, value, mode="overwrite", **kwargs)


def test_a_store_without_conditional_writes_is_refused_before_anything_is_built(
    run: Run, settings: list[str]
) -> None:
    """One line names the store and the way out; nothing is left in it."""
    fsspec.register_implementation("careless", CarelessFilesystem, clobber=True)
    with pytest.raises(ValueError, match=r"careless://shared lets a second writer .*docs/stores"):
        run([*settings, "run.store=careless://shared"])
    assert fsspec.filesystem("careless").find("") == []


def test_a_text_without_a_separator_is_one_document(
    run: Run,
    settings: list[str],
    tmp_path: Path,
    data_root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Any plain text will do; a warning says how it was read."""
    path = tmp_path / "book.txt"
    path.write_text("It was the best of times, it was the worst of times. " * 40)
    run([*settings, f"corpus.train={path}"], only="download")
    assert "train holds one document" in caplog.text


def test_invalid_utf8_is_kept_byte_for_byte_and_reported(
    run: Run, settings: list[str], corpus: dict[str, Path], tmp_path: Path, data_root: Path
) -> None:
    """The shards decode to the very bytes of the file."""
    import numpy as np

    from artifacts.published.reading import local_folder
    from artifacts.store import reference_of, resolve
    from tokenizer.encoding.tokenizer import Tokenizer

    path = tmp_path / "mixed.txt"
    path.write_bytes(corpus["train"].read_bytes() + b"\xff\xfe caf\xc3 \xe2\x82 end")
    summary = run([*settings, f"corpus.train={path}"], only="download")
    store = open_store(data_root / "artifacts")
    record = resolve(store, summary["stages"][0]["fingerprint"])
    assert record.statistics["num_invalid_utf8_spans"] == 3
    for stage in ("count_pretokens", "train_tokenizer", "encode_shards"):
        run([*settings, f"corpus.train={path}"], only=stage)
    tokenizer = Tokenizer.from_folder(
        local_folder(store, reference_of(store, resolve(store, "train_tokenizer")))
    )
    shards = [r for r in list_records(store, "encode_shards") if r.config["split"] == "train"]
    folder = local_folder(store, reference_of(store, shards[0]))
    ids = np.concatenate([np.load(shard) for shard in sorted(folder.glob("shard-*.npy"))])
    assert tokenizer.decode_bytes(ids.tolist()) == path.read_bytes()
