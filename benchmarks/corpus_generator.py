"""Make large corpora, the same for the same arguments, with as many different words as real ones.

    python -m benchmarks.corpus_generator --base ../shared/data/openwebtext-train.txt.gz \
        --kind web --size-mb 12000 --output corpus.txt

The text is a real one repeated, its documents in another order each time, with words replaced by
made-up ones so often that the count of different pretokens grows as in larger real texts: by Heaps'
law, V(n) = V0 (n / n0)^beta. A made-up word is the beginning of one real word and the end of
another, and comes back once on average.
"""

import argparse
import gzip
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEPARATOR = b"<|endoftext|>\n"
_WORD = re.compile(rb"[A-Za-z]{4,12}")
_USES = 2  # of a made-up word, on average


@dataclass(frozen=True)
class Growth:
    """How the count of different pretokens of a kind of text grows."""

    beta: float
    first_distinct: int
    """Different pretokens of the base text."""


# Fitted through two points each: the base text (counted here), and what others report for the
# whole: 6.6 million in the 11.9 GB of OpenWebText's sample, 59,933 in the 2.2 GB of TinyStories.
GROWTH = {
    "web": Growth(beta=0.61, first_distinct=89_449),
    "stories": Growth(beta=0.306, first_distinct=13_399),
}


def iter_corpus(base: bytes, growth: Growth, *, size_bytes: int, seed: int) -> Iterator[bytes]:
    """Yield documents of the corpus until it has `size_bytes`; the last one is cut."""
    source = random.Random(seed)
    documents = base.split(SEPARATOR)
    words = sorted(set(_WORD.findall(base[: 2**22])))
    written = made = 0
    while True:
        order = list(range(len(documents)))
        if written > 0:
            source.shuffle(order)
        for index in order:
            document = documents[index] + SEPARATOR
            position = max(written + len(document), len(base))
            wanted = int(growth.first_distinct * ((position / len(base)) ** growth.beta - 1))
            num_new = max(0, wanted - made)
            if num_new:
                document = _with_made_up_words(document, words, made, num_new, source)
                made += num_new
            if written + len(document) >= size_bytes:
                yield document[: size_bytes - written]
                return
            yield document
            written += len(document)


def made_up_word(number: int, words: list[bytes]) -> bytes:
    """Return the word of a number: always the same, and nearly always a different one."""
    # The high bits of a product with 2**64 over the golden ratio: Knuth, vol. 3, section 6.4.
    mixed = number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    first = words[(mixed >> 40) % len(words)]
    second = words[(mixed >> 12 & 0xFFFFFFF) % len(words)]
    return b" " + first[: 3 + number % 4] + second[-(3 + number // 4 % 5) :]


def _with_made_up_words(
    document: bytes, words: list[bytes], made: int, num_new: int, source: random.Random
) -> bytes:
    """Replace words of a document: `num_new` by words not used before, as many by used ones."""
    numbers = list(range(made, made + num_new))
    numbers += [int(source.random() * (made + num_new)) for _ in range((_USES - 1) * num_new)]
    places = sorted(int(source.random() * len(document)) for _ in numbers)
    parts = []
    end = 0
    for place, number in zip(places, numbers, strict=True):
        begin = document.find(b" ", max(place, end))
        stop = document.find(b" ", begin + 1)
        if begin < 0 or stop < 0:
            # Not lost: the end of the document takes what does not fit in.
            parts.append(document[end : -len(SEPARATOR)] + made_up_word(number, words))
            end = len(document) - len(SEPARATOR)
            continue
        parts += [document[end:begin], made_up_word(number, words)]
        end = stop
    return b"".join([*parts, document[end:]])


def main() -> None:
    """Write the corpus and print what it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="real text, plain or .gz")
    parser.add_argument("--kind", choices=sorted(GROWTH), required=True)
    parser.add_argument("--size-mb", type=float, required=True, help="megabytes of 10**6")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    packed = options.base.read_bytes()
    base = gzip.decompress(packed) if options.base.suffix == ".gz" else packed
    size_bytes = int(options.size_mb * 10**6)
    with options.output.open("wb", buffering=2**22) as file:
        for document in iter_corpus(
            base, GROWTH[options.kind], size_bytes=size_bytes, seed=options.seed
        ):
            file.write(document)
    json.dump({"kind": options.kind, "size_bytes": size_bytes, "seed": options.seed}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
