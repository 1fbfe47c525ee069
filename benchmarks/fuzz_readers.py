"""Give damaged and hostile files to everything that reads one: taken, or refused in one line.

    python -m benchmarks.fuzz_readers --out readers.jsonl --inputs 1000000
    python -m benchmarks.fuzz_readers --out readers.jsonl --inputs 20000 --only record

Each input is a sound file with a few changes, drawn by a seed. Writes one JSON line for each
thousand; started again, it goes on behind the last one. Exit code 1 if a reader raised anything but
a `ValueError` or an `OSError`, or a message of several lines.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.readers import READERS, Reader

BATCH = 1000
ALLOWED = (ValueError, OSError)
"""Errors that the command line shows in one line: the file's fault, or the disk's."""

ODD_VALUES = (b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"9" * 30, b'"../../x"')


def main() -> int:
    """Run batches, each reader in turn, until there were so many inputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; added to")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="in all, earlier ones too")
    parser.add_argument("--only", nargs="*", default=list(READERS), help="these readers")
    options = parser.parse_args()
    options.out.touch()
    lines = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = Counter(line["reader"] for line in lines)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        sound = {name: READERS[name].make(Path(folder)) for name in options.only}
        while sum(done.values()) * BATCH < options.inputs:
            name = min(options.only, key=lambda name: done[name])
            line = run_batch(name, READERS[name], sound[name], done[name], Path(folder))
            with options.out.open("a") as log:
                log.write(json.dumps(line) + "\n")
            lines.append(line)
            done[name] += 1
    print(as_table(lines))
    return 1 if any(line["problems"] for line in lines) else 0


def run_batch(
    name: str,
    reader: Reader,
    sound: dict[str, bytes],
    batch: int,
    folder: Path,
    count: int = BATCH,
) -> dict[str, Any]:
    """Read changed files, and return how it went."""
    draw = random.Random(f"{name}/{batch}")
    taken, problems = 0, []
    for number in range(count):
        files = dict(sound)
        changed = draw.choice(sorted(files))
        files[changed] = damage(files[changed], draw)
        try:
            reader.read(files, folder)
            taken += 1
        except ALLOWED as error:
            if "\n" in str(error):
                problems.append(f"{number}: {changed}: several lines: {error!r:.200}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            problems.append(f"{number}: {changed}: {error!r:.200}")
    return {"reader": name, "batch": batch, "taken": taken, "problems": problems}


def damage(data: bytes, draw: random.Random) -> bytes:
    """Change some bytes: flip, cut off, repeat, insert, or put an odd value of JSON there."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        data = draw.choice(CHANGES)(data, draw)
    return data


def _flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) or 1)
    return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def _cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _repeat(data: bytes, draw: random.Random) -> bytes:
    start, stop = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] * draw.choice([1, 2, 50]) + data[stop:]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.choice([b"\0", b"\xff", b"\n", b"[" * 2000, *ODD_VALUES]) + data[at:]


def _replace_value(data: bytes, draw: random.Random) -> bytes:
    """Replace what lies between two signs of JSON."""
    signs = [at for at, byte in enumerate(data) if byte in b':,[]{}"']
    if len(signs) < 2:
        return data
    first = draw.randrange(len(signs) - 1)
    start, stop = signs[first] + 1, signs[min(first + draw.choice([1, 1, 3]), len(signs) - 1)]
    return data[:start] + draw.choice(ODD_VALUES) + data[stop:]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _cut_off,
    _repeat,
    _insert,
    _replace_value,
    _replace_value,
)


def as_table(lines: list[dict[str, object]]) -> str:
    """Return how many inputs each reader had, how many it took, and the first problems."""
    rows = ["| reader | inputs | taken | problems |", "|---|---|---|---|"]
    problems: list[str] = []
    for name in sorted({str(line["reader"]) for line in lines}):
        mine = [line for line in lines if line["reader"] == name]
        found = [p for line in mine for p in list(line["problems"])]  # type: ignore[call-overload] # JSON
        taken = sum(int(str(line["taken"])) for line in mine)
        rows.append(f"| {name} | {len(mine) * BATCH:,} | {taken:,} | {len(found)} |")
        problems += [f"{name}: {problem}" for problem in found[:5]]
    return "\n".join([*rows, *problems])


if __name__ == "__main__":
    sys.exit(main())
