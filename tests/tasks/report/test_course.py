"""Tests of `tasks/report/course.py`: every problem is there and answered or said to be open."""

import importlib
import re
from pathlib import Path

from tasks.report.blocks import NotRun, Report, Text
from tasks.report.content import write_report
from tasks.report.course.problems import PROBLEMS, answer_to
from tests import made_up_sweeps
from tests.made_up_evidence import settings_of, with_sweeps
from tests.self_contained import check_page

ROOT = Path(__file__).resolve().parents[3]
NAMES = """
    unicode1 unicode2 train_bpe train_bpe_tinystories train_bpe_expts_owt tokenizer
    tokenizer_experiments linear embedding rmsnorm positionwise_feedforward rope softmax
    scaled_dot_product_attention multihead_self_attention transformer_block transformer_lm
    transformer_accounting cross_entropy learning_rate_tuning adamw adamwAccounting
    learning_rate_schedule gradient_clipping data_loading checkpointing training_together
    decoding experiment_log learning_rate batch_size_experiment generate layer_norm_ablation
    pre_norm_ablation no_pos_emb swiglu_ablation main_experiment leaderboard
"""
"""The problems of the hand-out of 2025, in its order."""


def test_every_problem_of_the_hand_out_is_there_in_order() -> None:
    """A student compares line by line."""
    assert [name for problem in PROBLEMS for name in problem.name.split(", ")] == NAMES.split()
    numbers = [tuple(map(int, problem.number.split("."))) for problem in PROBLEMS]
    assert numbers == sorted(numbers)


def test_the_code_and_the_tests_that_answers_name_exist() -> None:
    """A renamed module must not leave a dead answer."""
    written = [p for p in PROBLEMS if p.question.startswith(("Write", "Put", "Draw", "Generate t"))]
    assert len(written) > 10
    for problem in written:
        section = answer_to(problem, with_sweeps())
        texts = [b.text for b in section.blocks if isinstance(b, Text) and b.text[:5] == "Code:"]
        for text in texts:
            code, _, tests = text.partition(" Tests: ")
            assert all((ROOT / name).exists() for name in re.findall(r"tests/\S+\.py", tests))
            for name in re.findall(r"\b(?:lm|tokenizer)(?:\.\w+)+", code):
                assert exists(name), name


def exists(name: str) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    module, _, attribute = name.rpartition(".")
    try:
        return bool(importlib.import_module(name))
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(module), attribute)


def test_the_course_page_answers_or_says_what_to_run() -> None:
    """With sweeps and no run: numbers from sweeps and formulas, commands for the rest."""
    from tasks.report.page import to_html

    evidence = with_sweeps(made_up_sweeps.rates(), made_up_sweeps.arms())
    report = course_report(evidence)
    sections = {section.key: section for section in report.sections}
    assert all(section.question for section in sections.values() if section.title[0].isdigit())
    assert "2,127,057,600 parameters" in sections["transformer_accounting"].finding
    assert "6,583.6 days" in sections["adamwAccounting"].finding
    assert "worse" in sections["no_pos_emb"].finding
    (missing,) = sections["pre_norm_ablation"].blocks
    assert isinstance(missing, NotRun)
    check_page(to_html(report))


def course_report(evidence: object) -> Report:
    """Return the report in the order of the course."""
    from dataclasses import replace

    from tasks.report.evidence import Evidence

    assert isinstance(evidence, Evidence)
    return write_report(replace(evidence, settings=settings_of(order="course")))
