"""Put small mistakes into the sources, one at a time, and see whether a test notices.

    python -m benchmarks.mutation --out mutation.jsonl
    python -m benchmarks.mutation --out mutation.jsonl --only tokenizer/text --per-file 50

Writes one JSON line a mutant; those that the file has already are not judged again. Ends with a
table. What survives is a missing test, or a mistake that makes no difference
(docs/studies/mutation.md).
"""

import argparse
import json
import os
import shutil
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from runpy import run_path

from benchmarks.mutation.judges import JUDGES, is_kernel
from benchmarks.mutation.mutants import Mutant, draw_mutants
from benchmarks.mutation.runner import copy_checkout, prepare, run_tests

HERE = Path(__file__).parents[2]
KERNELS = Path("tokenizer/kernels")
LIMIT_S, KERNEL_LIMIT_S = 5, 40
"""CPU seconds beyond twice the usual; a mutant's kernels are compiled first."""


def main() -> None:
    """Judge the mutants of all files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; added to")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of files to mutate")
    parser.add_argument("--skip", nargs="*", default=[], help="beginnings of files to leave out")
    parser.add_argument("--per-file", type=int, default=20)
    parser.add_argument("--per-kernel", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    prepare()
    options.out.touch()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        checkout = Path(folder) / "checkout"
        copy_checkout(HERE, checkout)
        # In three rounds, so that a campaign that is stopped has something of every file.
        for part in (1, 2, 3):
            for file in JUDGES:
                if is_wanted(file, options.only, options.skip):
                    count = options.per_kernel if is_kernel(file) else options.per_file
                    judge_file(checkout, file, count * part // 3, options.seed, options.out)
    print(as_table(options.out))


def is_wanted(file: str, only: list[str], skip: list[str]) -> bool:
    """Tell whether a file begins as asked for."""
    return file.startswith(tuple(only)) and not file.startswith(tuple(skip))


def judge_file(checkout: Path, file: str, count: int, seed: int, out: Path) -> None:
    """Judge the mutants of one file that `out` does not have yet."""
    done = {key_of(json.loads(line)) for line in out.read_text().splitlines()}
    drawn = draw_mutants((checkout / file).read_text(), count, f"{seed} {file}")
    lines = [line_of(file, mutant) for mutant in drawn]
    todo = [
        (mutant, line)
        for mutant, line in zip(drawn, lines, strict=True)
        if key_of(line) not in done
    ]
    if not todo:
        return
    log = checkout.with_name("log")
    usual_s = usual_seconds(checkout, JUDGES[file], log)
    limit_s = 2 * usual_s + (KERNEL_LIMIT_S if is_kernel(file) else LIMIT_S)
    for mutant, line in todo:
        passed, seconds = judge(checkout, file, mutant, limit_s=limit_s, log=log)
        line |= {"result": "survived" if passed else "killed", "seconds": round(seconds, 1)}
        with out.open("a") as stream:
            stream.write(json.dumps(line) + "\n")


@cache
def usual_seconds(checkout: Path, tests: str, log: Path) -> float:
    """Run tests without a mutant; return how long they take."""
    passed, seconds = run_tests(checkout, tests, limit_s=600, log=log, keep_bytecode=True)
    if not passed:
        raise RuntimeError(f"{tests} fails without a mutant:\n{log.read_text()[-2000:]}")
    return seconds


def judge(
    checkout: Path, file: str, mutant: Mutant, *, limit_s: float, log: Path
) -> tuple[bool, float]:
    """Run the tests with a mutant in place of its file; put the file back as it was."""
    path = checkout / file
    original, times = path.read_bytes(), path.stat()
    compiled = set((checkout / KERNELS / "__pycache__").glob("kernels-*"))
    try:
        path.write_text(mutant.source)
        if is_kernel(file):
            keep_kernels(checkout / KERNELS, compiled, changed=path)
        return run_tests(checkout, JUDGES[file], limit_s=limit_s, log=log)
    finally:
        path.write_bytes(original)
        # Numba and Python take code of an older or newer file for another one's.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        for stale in set((checkout / KERNELS / "__pycache__").glob("kernels-*")) - compiled:
            shutil.rmtree(stale)


def keep_kernels(sources: Path, compiled: set[Path], *, changed: Path) -> None:
    """Give a mutant the compiled kernels of all files that import nothing of the changed one."""
    texts = {path: path.read_text() for path in sources.rglob("*.py")}
    stale, newly_stale = set[Path](), {changed}
    while newly_stale:
        stale |= newly_stale
        names = [".".join(path.relative_to(sources).with_suffix("").parts) for path in stale]
        imports = tuple(f"from tokenizer.kernels.{name} import" for name in names)
        newly_stale = {
            path for path, text in texts.items() if any(line in text for line in imports)
        } - stale
    stems = {path.stem for path in stale}
    # Run, not imported: the process that forks must have no module of the project.
    digest = run_path(str(HERE / KERNELS / "sources.py"))["sources_digest"](sources)
    target = sources / "__pycache__" / f"kernels-{digest[:16]}"
    for file in (file for folder in compiled for file in folder.rglob("*.nb[ic]")):
        if file.name.split(".")[0] not in stems:
            (target / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target / file.parent.name)


def as_table(out: Path) -> str:
    """Return the counts of all files, as a table of Markdown."""
    results = [json.loads(line) for line in out.read_text().splitlines()]
    mutants = Counter(result["file"] for result in results)
    survived = Counter(result["file"] for result in results if result["result"] == "survived")
    rows = ["| file | mutants | killed | survived |", "|---|---|---|---|"]
    for file, number in mutants.items():
        rows.append(f"| `{file}` | {number} | {number - survived[file]} | {survived[file]} |")
    total, left = mutants.total(), survived.total()
    return "\n".join([*rows, f"| all | {total} | {total - left} | {left} |"])


def line_of(file: str, mutant: Mutant) -> dict[str, object]:
    """Return what identifies a mutant, as its JSON line says it."""
    return {"file": file, **{key: getattr(mutant, key) for key in Mutant._fields[:4]}}


def key_of(line: dict[str, object]) -> tuple[object, ...]:
    """Return the same as something to compare by; the line number may have moved."""
    return line["file"], line["line"], line["column"], line["original"], line["mutated"]


if __name__ == "__main__":
    main()
