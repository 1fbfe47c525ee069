"""The order of a report's sections, from the question to how to get it again."""

from tasks.report.blocks import Report, Section
from tasks.report.course.problems import course_sections
from tasks.report.evidence import Evidence
from tasks.report.sections.accounting import model_account_section
from tasks.report.sections.corpora import corpora_section
from tasks.report.sections.costs import costs_section, throughput_section
from tasks.report.sections.curves import curves_section
from tasks.report.sections.data_card import data_section, tokenizer_section
from tasks.report.sections.generations import generations_section
from tasks.report.sections.losses import losses_section
from tasks.report.sections.pipeline import pipeline_section
from tasks.report.sections.recipe import recipe_section
from tasks.report.sections.sweeps import sweep_sections
from tasks.report.sections.targets import targets_section
from tasks.report.sections.verdict import (
    facts,
    negative_section,
    provenance_section,
    question,
    verdict,
)


def write_report(evidence: Evidence) -> Report:
    """Return the whole report, ordered as it was asked for."""
    settings = evidence.settings
    is_course = settings.order == "course"
    sections = course_sections(evidence) if is_course else study_sections(evidence)
    title = "CS336, assignment 1" if is_course else "Report"
    return Report(
        title=f"{title}: {settings.preset} on {settings.corpus}",
        question=question(evidence),
        verdict=verdict(evidence),
        facts=facts(evidence),
        notes=settings.notes,
        sections=tuple(sections),
    )


def study_sections(evidence: Evidence) -> list[Section]:
    """Return the sections of a study."""
    return [
        pipeline_section(evidence),
        recipe_section(evidence),
        data_section(evidence),
        tokenizer_section(evidence),
        curves_section(evidence),
        losses_section(evidence),
        corpora_section(evidence),
        *sweep_sections(evidence),
        costs_section(evidence),
        throughput_section(evidence),
        model_account_section(evidence),
        generations_section(evidence),
        targets_section(evidence),
        negative_section(evidence),
        provenance_section(evidence),
    ]
