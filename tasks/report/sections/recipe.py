"""Section: what this run does differently from the course's recipe."""

from tasks.report.blocks import Section, Table
from tasks.report.evidence import Evidence
from tasks.report.wording import plain
from tasks.tracking.runs import flatten


def recipe_section(evidence: Evidence) -> Section:
    """List the settings that differ from the baseline, and say how many do not."""
    settings = evidence.settings
    baseline, config = flatten(settings.baseline), flatten(settings.config)
    changed = {
        name: (baseline.get(name), value)
        for name, value in config.items()
        if plain(value) != plain(baseline.get(name))
    }
    rows = tuple((name, plain(before), plain(now)) for name, (before, now) in changed.items())
    finding = (
        f"{len(changed)} of {len(config)} settings differ from the course's TinyStories model; "
        "the others are equal."
    )
    table = Table(
        header=("setting", "course's model", "this run"),
        rows=rows,
        caption="The course's model is the preset tinystories: shape, vocabulary and number of "
        "tokens of CS336, assignment 1, section 7.2.",
        origin=evidence.origin("plan", ()),
    )
    return Section(key="recipe", title="Recipe", finding=finding, blocks=(table,) if rows else ())
