"""The rows of the tokenizer's table: which contender does what with which text, and the bars."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Job:
    """One row of the table: which program does what with which text."""

    action: str
    text: str
    """Name of the text, as given with --text."""

    contenders: tuple[str, ...]
    threads: int = 1
    vocab_size: int = 0
    calls: int = 0
    """Calls in one process whose kernels are loaded; 0: whole processes are timed."""

    limits_mb: tuple[tuple[str, float], ...] = ()
    """Contenders too slow for the whole text: they take so much, and are scaled up."""

    once: tuple[str, ...] = ()
    """Contenders so slow that a single call or process has to do."""

    time_bars: tuple[tuple[str, float], ...] = ()
    """Highest share of a contender's time that ours may take."""

    cpu_bars: tuple[tuple[str, float], ...] = ()
    """The same of processor seconds."""

    without_avx512: bool = False
    """Whether ours is compiled for a processor that has AVX2 and no more."""

    limit_s: float = 0.0
    """Seconds after which a contender is stopped, and has no figures; 0: never."""

    seconds_bar: float = 0.0
    rss_mb_bar: float = 0.0
    """Highest time and resident size of ours; 0: no bar."""


SCRIPTS = (
    *("english", "code", "latin", "cyrillic", "greek", "arabic", "hebrew", "indic"),
    *("chinese", "japanese", "korean", "emoji"),
)
"""The real text by what it is written in (`tokenizer_texts`); each is a text "script_..."."""

ODD = ("one_character", "no_whitespace", "only_emoji", "random_bytes")
"""Texts that no program is made for; each of 1 MB ("odd_...") and of 4 MB ("odd_..._4")."""


_TRAINERS = ("ours", "gigabpe", "gigatoken")
_ENCODERS = ("ours", "gigatoken", "tiktoken")
_PAIR = ("ours", "gigatoken")
_ALL_ENCODERS = (*_ENCODERS, "snaptokens", "tokenizers")
_STORIES_BARS = (("gigabpe", 0.7), ("gigatoken", 0.7))
_TIES_BARS = (("gigabpe", 1.0), ("gigatoken", 0.1))
JOBS = {
    "train_web": Job(
        "train",
        "web150",
        (*_TRAINERS, "rustbpe", "bpeasy"),
        vocab_size=32_000,
        once=("rustbpe", "bpeasy"),
        time_bars=(("gigabpe", 0.8), ("gigatoken", 0.5)),
    ),
    "train_call": Job(
        "train", "standin", _TRAINERS, vocab_size=32_000, calls=1, time_bars=(("gigabpe", 0.8),)
    ),
    "train_stories": Job(
        "train",
        "stories2200",
        _TRAINERS,
        vocab_size=10_000,
        time_bars=_STORIES_BARS,
        rss_mb_bar=1000,
    ),
    "train_stories_2": Job(
        "train",
        "stories2200",
        _TRAINERS,
        vocab_size=10_000,
        threads=2,
        time_bars=_STORIES_BARS,
        rss_mb_bar=1000,
    ),
    "train_ties_owt": Job(
        "train", "openwebtext", _TRAINERS, vocab_size=32_000, calls=3, time_bars=_TIES_BARS
    ),
    "train_ties_random": Job(
        "train",
        "random_words",
        _TRAINERS,
        vocab_size=20_000,
        calls=3,
        once=("gigatoken",),  # minutes
        time_bars=_TIES_BARS,
    ),
    "train_web_12000": Job(
        "train",
        "web12000",
        ("ours",),
        vocab_size=32_000,
        threads=2,
        seconds_bar=180,
        rss_mb_bar=4000,
    ),
    "encode_web": Job(
        "encode",
        "web1000",
        _ENCODERS,
        limits_mb=(("tiktoken", 60),),
        time_bars=(("tiktoken", 1 / 10), ("gigatoken", 1 / 0.9)),
        rss_mb_bar=300,
    ),
    "encode_call": Job(
        "encode", "web150", ("ours", "gigatoken"), calls=1, time_bars=(("gigatoken", 1 / 0.8),)
    ),
    "encode_call_2": Job(
        "encode",
        "web150",
        ("ours", "gigatoken"),
        calls=1,
        threads=2,
        time_bars=(("gigatoken", 1 / 1.2),),
    ),
    "encode_web_12000": Job("encode", "web12000", ("ours",), threads=2, rss_mb_bar=300),
}


def _encode_jobs() -> dict[str, Job]:
    """Return the rows of encoding real text: calls with a new tokenizer each, into a file."""
    rows = {}
    for text, calls, bar in (("owt10", 5, 0.9), ("all13", 1, 0.9), ("standin3", 3, 0.95)):
        for threads in (1, 2):
            job = Job(
                "encode",
                text,
                _PAIR,
                threads=threads,
                calls=calls,
                time_bars=(("gigatoken", bar),),
                cpu_bars=(("gigatoken", 0.95),),
            )
            rows[f"encode_{text}_{threads}"] = job
            plain = replace(job, without_avx512=True, time_bars=(("gigatoken", 1.0),))
            rows[f"encode_{text}_{threads}_avx2"] = plain
    return rows


def _odd_jobs() -> dict[str, Job]:
    """Return the rows of odd texts; who takes a minute for one of them is stopped."""
    texts = [f"odd_{name}{suffix}" for name in ODD for suffix in ("", "_4")]
    return {
        f"encode_{text}": Job("encode", text, _ALL_ENCODERS, calls=1, limit_s=60) for text in texts
    }


JOBS |= _encode_jobs()
JOBS |= {f"encode_{name}": Job("encode", f"script_{name}", _PAIR, calls=3) for name in SCRIPTS}
JOBS |= _odd_jobs()
JOBS["encode_all13_16"] = Job("encode", "all13", ("ours",), threads=16, rss_mb_bar=310 + 16 * 16)
JOBS["encode_peers"] = Job("encode", "owt10", _ALL_ENCODERS, threads=2, once=_ALL_ENCODERS[2:])
