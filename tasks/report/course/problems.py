"""The course's problems, each with its number, its question in our words, and its answer.

Numbers and names are those of Stanford CS336, assignment 1, edition of 2025.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from lm.accounting.course import EDITIONS
from tasks.report.blocks import Figure, NotRun, Section, Text
from tasks.report.course.answers import encodings_answer, null_character_answer, toy_answer
from tasks.report.evidence import Evidence
from tasks.report.sections.accounting import adamw_section, gpt2_section, model_account_section
from tasks.report.sections.corpora import corpora_section
from tasks.report.sections.curves import curves_section
from tasks.report.sections.data_card import data_section, tokenizer_section
from tasks.report.sections.generations import generations_section
from tasks.report.sections.losses import losses_section
from tasks.report.sections.pipeline import pipeline_section
from tasks.report.sections.recipe import recipe_section
from tasks.report.sections.sweeps import arm_section, sweep_section
from tasks.report.sections.targets import targets_section
from tasks.report.sections.verdict import negative_section, provenance_section

Answer = Callable[[Evidence], Section]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One problem of the assignment."""

    number: str
    """Section of the hand-out."""
    name: str
    question: str
    answer: Answer


def course_sections(evidence: Evidence) -> list[Section]:
    """Return a section a problem, in the hand-out's order; data and lineage come last."""
    answered = [answer_to(problem, evidence) for problem in PROBLEMS]
    return [*answered, negative_section(evidence), provenance_section(evidence)]


def answer_to(problem: Problem, evidence: Evidence) -> Section:
    """Return the section that answers a problem."""
    found = problem.answer(evidence)
    prefix = problem.name.replace("_", "-").replace(", ", "-")
    blocks = tuple(
        renamed(block, f"{prefix}-{block.name}") if isinstance(block, Figure) else block
        for block in found.blocks
    )
    return replace(
        found,
        key=problem.name.replace(", ", "-"),
        title=f"{problem.number} {problem.name}",
        question=problem.question,
        blocks=blocks,
    )


def renamed(figure: Figure, name: str) -> Figure:
    """Give a figure another name, also in its ids: one figure may answer two problems."""
    svg = figure.svg
    for before in ('id="', "url(#", 'href="#'):
        svg = svg.replace(f"{before}{figure.name}-", f"{before}{name}-")
    return replace(figure, name=name, svg=svg)


def code(*modules: str, tests: str) -> Answer:
    """Answer with the code that was asked for, and the tests that prove it."""
    text = f"Code: {', '.join(modules)}. Tests: {tests}."
    finding = "Written from primitives, and tested; docs/course.md has the tolerances."

    def answer(evidence: Evidence) -> Section:
        del evidence
        return Section(key="", title="", finding=finding, blocks=(Text(text),))

    return answer


def joined(*answers: Answer) -> Answer:
    """Answer with several sections, one after the other."""

    def answer(evidence: Evidence) -> Section:
        sections = [part(evidence) for part in answers]
        finding = " ".join(section.finding for section in sections if section.finding)
        blocks = tuple(block for section in sections for block in section.blocks)
        return Section(key="", title="", finding=finding, blocks=blocks)

    return answer


def computed(section: Callable[[], Section]) -> Answer:
    """Answer with something that depends on no run."""
    return lambda _evidence: section()


def on_corpus(corpus: str, preset: str, *answers: Answer) -> Answer:
    """Answer from a run on one corpus; a run on another one does not say."""

    def answer(evidence: Evidence) -> Section:
        if evidence.settings.corpus == corpus:
            return joined(*answers)(evidence)
        missing = NotRun(
            what=f"this report's run is on {evidence.settings.corpus}, not on {corpus}",
            command=f"owt report --preset {preset} --course",
            why="The same, on the corpus of this report:",
        )
        found = joined(*answers)(evidence)
        return replace(found, blocks=(missing, *found.blocks))

    return answer


def ablation(arm: str) -> Answer:
    """Answer from the sweep of ablations, with one arm of it."""
    return lambda evidence: arm_section(evidence, arm)


PROBLEMS = (
    Problem(
        number="2.1",
        name="unicode1",
        question="Which character is chr(0), how does Python represent it, and what does it do "
        "in a text?",
        answer=computed(null_character_answer),
    ),
    Problem(
        number="2.2",
        name="unicode2",
        question="Why train on UTF-8 and not on UTF-16 or UTF-32; what goes wrong when bytes are "
        "decoded one by one; and which pair of bytes is no text?",
        answer=computed(encodings_answer),
    ),
    Problem(
        number="2.5",
        name="train_bpe",
        question="Write a function that trains a byte-level BPE tokenizer.",
        answer=code(
            "tokenizer.training.train.train_bpe", tests="tests/tokenizer/training/test_train.py"
        ),
    ),
    Problem(
        number="2.5",
        name="train_bpe_tinystories",
        question="Train 10,000 tokens on TinyStories: how long, how much memory, the longest "
        "token, and which part takes the time?",
        answer=on_corpus("tinystories", "tinystories", data_section, tokenizer_section),
    ),
    Problem(
        number="2.5",
        name="train_bpe_expts_owt",
        question="Train 32,000 tokens on OpenWebText: the longest token, and how the two "
        "tokenizers differ?",
        answer=on_corpus("openwebtext", "openwebtext", tokenizer_section),
    ),
    Problem(
        number="2.6",
        name="tokenizer",
        question="Write a tokenizer that encodes and decodes, special tokens included.",
        answer=code(
            "tokenizer.encoding.tokenizer.Tokenizer",
            tests="tests/tokenizer/encoding/test_tokenizer.py",
        ),
    ),
    Problem(
        number="2.7",
        name="tokenizer_experiments",
        question="How many bytes does a token hold, on either corpus; how fast is encoding, how "
        "long would 825 GB take, and why uint16?",
        answer=tokenizer_section,
    ),
    Problem(
        number="3.4",
        name="linear, embedding",
        question="Write a linear layer without bias, and an embedding.",
        answer=code("lm.model.layers.Linear", "Embedding", tests="tests/lm/model/test_layers.py"),
    ),
    Problem(
        number="3.5",
        name="rmsnorm, positionwise_feedforward, rope",
        question="Write RMSNorm, SwiGLU, and rotary position embeddings.",
        answer=code(
            "lm.model.layers.RMSNorm",
            "SwiGLU",
            "RotaryPositionalEmbedding",
            tests="tests/lm/model/test_layers.py",
        ),
    ),
    Problem(
        number="3.5",
        name="softmax, scaled_dot_product_attention, multihead_self_attention",
        question="Write softmax, attention, and causal multi-head self-attention.",
        answer=code(
            "lm.model.functional.softmax",
            "scaled_dot_product_attention",
            "lm.model.attention.MultiHeadSelfAttention",
            tests="tests/lm/model/test_functional.py and test_attention.py",
        ),
    ),
    Problem(
        number="3.6",
        name="transformer_block, transformer_lm",
        question="Put the parts together to a block and to the whole model.",
        answer=code(
            "lm.model.transformer.TransformerBlock",
            "TransformerLM",
            tests="tests/lm/model/test_transformer.py",
        ),
    ),
    Problem(
        number="3.6",
        name="transformer_accounting",
        question="How many parameters has GPT-2 XL, how many FLOPs does a forward pass take, "
        "which part takes the most, and how does that change with size and context?",
        answer=joined(*(computed(lambda year=year: gpt2_section(year)) for year in EDITIONS)),  # type: ignore[misc]  # mypy sees no default in a lambda
    ),
    Problem(
        number="4.1",
        name="cross_entropy",
        question="Write the cross-entropy, stable for large logits.",
        answer=code("lm.model.functional.cross_entropy", tests="tests/lm/model/test_functional.py"),
    ),
    Problem(
        number="4.2",
        name="learning_rate_tuning",
        question="What do learning rates of 10, 100 and 1,000 do to ten steps of the toy problem?",
        answer=computed(toy_answer),
    ),
    Problem(
        number="4.3",
        name="adamw",
        question="Write AdamW.",
        answer=code("lm.optim.adamw.AdamW", tests="tests/lm/optim/test_adamw.py"),
    ),
    Problem(
        number="4.3",
        name="adamwAccounting",
        question="How much memory does training with AdamW need, which batch fits in 80 GB, how "
        "many FLOPs is a step, and how long would GPT-2 XL take?",
        answer=joined(*(computed(lambda year=year: adamw_section(year)) for year in EDITIONS)),  # type: ignore[misc]  # as above
    ),
    Problem(
        number="4.4",
        name="learning_rate_schedule, gradient_clipping",
        question="Write the cosine schedule with warm-up, and the clipping of gradients.",
        answer=code(
            "lm.optim.schedule.cosine_learning_rate",
            "lm.optim.clip.clip_gradients",
            tests="tests/lm/optim/test_schedule.py and test_clip.py",
        ),
    ),
    Problem(
        number="5",
        name="data_loading, checkpointing",
        question="Draw batches from a file of tokens, and save and load all that a training is.",
        answer=code(
            "lm.data.shards.get_batch",
            "lm.checkpoint.weights.save_checkpoint",
            "load_checkpoint",
            tests="tests/lm/data/test_shards.py and tests/lm/checkpoint/test_weights.py",
        ),
    ),
    Problem(
        number="5.3",
        name="training_together",
        question="Write a training loop with settings from outside, checkpoints and logs.",
        answer=joined(
            code("lm.training.train.train", tests="tests/lm/training/test_train.py"),
            pipeline_section,
        ),
    ),
    Problem(
        number="6",
        name="decoding",
        question="Generate text from a prompt with a temperature and top-p.",
        answer=code("lm.generate.generate", "lm.sampling", tests="tests/lm/test_generate.py"),
    ),
    Problem(
        number="7.1",
        name="experiment_log",
        question="Keep a log of all experiments, with curves against steps and time.",
        answer=joined(recipe_section, curves_section),
    ),
    Problem(
        number="7.2",
        name="learning_rate",
        question="Sweep the learning rate, with at least one run that diverges. How is the best "
        "rate related to the one where training becomes unstable?",
        answer=lambda evidence: sweep_section(evidence, "learning-rate"),
    ),
    Problem(
        number="7.2",
        name="batch_size_experiment",
        question="Vary the batch size from 1 to what memory allows. What changes?",
        answer=lambda evidence: sweep_section(evidence, "batch-size"),
    ),
    Problem(
        number="7.2",
        name="generate",
        question="Generate 256 tokens or up to the end of the text. How fluent is it, and which "
        "two factors change that?",
        answer=generations_section,
    ),
    Problem(
        number="7.3",
        name="layer_norm_ablation",
        question="Remove RMSNorm. What happens at the best rate, and does a lower one help?",
        answer=ablation("no RMSNorm"),
    ),
    Problem(
        number="7.3",
        name="pre_norm_ablation",
        question="Put the norm after each sub-layer instead of before it. What changes?",
        answer=ablation("post-norm"),
    ),
    Problem(
        number="7.3",
        name="no_pos_emb",
        question="Leave out position information. What changes?",
        answer=ablation("NoPE"),
    ),
    Problem(
        number="7.3",
        name="swiglu_ablation",
        question="Use SiLU without a gate, with as many parameters. What changes?",
        answer=ablation("SiLU"),
    ),
    Problem(
        number="7.4",
        name="main_experiment",
        question="Train the same model for as many steps on OpenWebText. How do loss and text "
        "compare with TinyStories, and why?",
        answer=on_corpus(
            "openwebtext", "openwebtext", losses_section, corpora_section, model_account_section
        ),
    ),
    Problem(
        number="7.5",
        name="leaderboard",
        question="How low a loss can be reached on OpenWebText in a limited time?",
        answer=targets_section,
    ),
)
