"""One attempt: a forked process that runs the whole flow, and dies at a chosen moment."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from benchmarks.kills.moments import Moments
from flows.cli.serving.stopping import INTERRUPTED, SIGNALS, stopping_on_signals
from tasks.watching.stopping import RunStopped, result_of
from tests.tiny_pipeline import TINY, write_corpus

CHECKPOINT_STEPS = 5
NUM_STEPS = 40

CHANGES = (
    f"train_lm.max_steps={NUM_STEPS}",
    f"run.checkpoint_steps={CHECKPOINT_STEPS}",
    "run.device=cpu",
    "run.workers=2",
    "run.retries=0",
)


def make_ready(folder: Path) -> list[str]:
    """Write the corpus, import everything and compile the kernels; return the settings."""
    corpus = [
        f"corpus.{split}={write_corpus(folder / f'{split}.txt', seed=seed, num_documents=count)}"
        for split, seed, count in [("train", 1, 200), ("valid", 2, 20)]
    ]
    import torch

    torch.set_num_threads(1)
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import prefect.main  # noqa: F401
    import torch._dynamo

    import flows.pipeline  # noqa: F401
    import lm.training.train  # noqa: F401
    import tokenizer.training.train  # noqa: F401

    _warm_kernels(folder)
    _warm_hashes_of_code()
    # A fork's collector would look through all that was imported, and copy the pages.
    gc.collect()
    gc.freeze()
    return [*corpus, *TINY, *CHANGES]


def _warm_hashes_of_code() -> None:
    """Parse the stages' code here: each process of ours keeps what it has parsed."""
    from flows.stage_names import stage_names
    from tasks.execution.source_closure import source_closure

    for name in stage_names():
        source_closure(f"tasks.{name}")


def _warm_kernels(folder: Path) -> None:
    """Compile what each attempt needs, and load it on a few bytes in one thread."""
    from tokenizer.compile_kernels import GROUPS
    from tokenizer.config import TokenizerConfig
    from tokenizer.encoding.tokenizer import Tokenizer
    from tokenizer.formats.vocabulary import build_vocab
    from tokenizer.training.count import count_pretokens
    from tokenizer.training.train import train_merges

    subprocess.run([sys.executable, "-m", "tokenizer.compile_kernels", "", *GROUPS], check=True)
    config = TokenizerConfig()
    text = folder / "valid.txt"
    counts = count_pretokens(
        str(text),
        start=0,
        stop=text.stat().st_size,
        pattern=config.pattern,
        special_tokens=config.special_tokens,
    )
    result = train_merges(counts, 20, tie_break=config.tie_break)
    vocab = build_vocab(result.merges, config.special_tokens)
    Tokenizer(vocab, result.merges, config.special_tokens).encode(text.read_text())


def one_thread() -> bool:
    """Tell whether this process has one thread, those of libraries counted too."""
    return threading.active_count() == 1 and len(list(Path("/proc/self/task").iterdir())) == 1


def fork_attempt(root: Path, settings: list[str], moments: Moments, *, only: str = "") -> int:
    """Start an attempt over a data root as the leader of a process group; return its id.

    Args:
        root: The data root.
        settings: Settings over the smoke preset.
        moments: Counts the changes that the attempt makes.
        only: Build this stage alone.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        with contextlib.suppress(PermissionError):  # it has done so itself
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        root.mkdir(parents=True, exist_ok=True)
        _redirect_output(root / "attempts.log")
        os.environ["OWT_ROOT"] = str(root)
        for number in SIGNALS:  # `nohup` and a shell's `&` hand them on ignored
            signal.signal(number, signal.SIG_DFL)
        moments.watch(root)
        code = _run(root, settings, only)
    except BaseException:
        traceback.print_exc()
    finally:
        moments.unwatch()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(root: Path, settings: list[str], only: str) -> int:
    """Do as `owt run` does."""
    from flows.pipeline import owt_pipeline

    try:
        with stopping_on_signals(root) as switch, switch.holding():
            state: Any = owt_pipeline(
                preset="smoke", overrides=settings, only=only, return_state=True
            )
            result_of(state)
    except RunStopped:
        return INTERRUPTED
    return 0


def _redirect_output(path: Path) -> None:
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
