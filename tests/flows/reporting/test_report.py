"""Tests of `flows/reporting/report.py`: the report of a tiny run, from its artifacts."""

from pathlib import Path
from typing import Any

import pytest

from flows.config import recipe_of
from flows.presets import smoke
from flows.reporting.report import arguments_of
from flows.reporting.report_sweeps import SMOKE, command_of, has_same_model
from tests.self_contained import check_page


@pytest.fixture
def report(prefect_server: None, shared_root: Path, settings: list[str]) -> Any:
    """A call of the flow on the tiny run's artifacts."""
    from flows.reporting.report import owt_report

    def call(
        root: Path = shared_root, more: tuple[str, ...] = (), **options: Any
    ) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OWT_ROOT", str(root))
            patch.setenv("MLFLOW_TRACKING_URI", "")
            given = {"with_sweeps": False, **options}
            summary: dict[str, Any] = owt_report(
                preset="smoke", overrides=[*settings, *more], **given
            )
            return summary

    return call


def test_a_report_is_an_artifact_and_is_found_again(
    first: dict[str, Any], report: Any, shared_root: Path
) -> None:
    """One page that needs nothing else, its Markdown, its figures; a second call writes nothing."""
    summary = report()
    page = Path(summary["page"])
    check_page(page.read_text(encoding="utf-8"))
    names = {path.name for path in page.parent.iterdir()}
    assert names == {"report.html", "report.md", "figures"}
    markdown = (page.parent / "report.md").read_text(encoding="utf-8")
    for figure in page.parent.glob("figures/*.svg"):
        assert f"(figures/{figure.name})" in markdown
    loss = next(s for s in first["stages"] if s["stage"] == "evaluate")["statistics"]["loss"]
    assert f"{loss:.3f} ±" in markdown
    assert "Bytes a token of 10 documents of each text" in markdown
    again = report()
    assert again["page"] == summary["page"]
    assert again["stages"][-1]["cached"]


def test_a_finished_run_on_another_corpus_is_shown_beside(
    first: dict[str, Any], report: Any
) -> None:
    """It is found in the store by its corpus; here both are one run, under two names."""
    del first
    summary = report(more=("corpus.name=elsewhere",), make_missing=False)
    other = [name for name in summary["made_from"] if name.startswith("other ")]
    assert sorted(name.rpartition(" ")[2] for name in other) == ["evaluate", "generate", "train_lm"]
    markdown = Path(summary["page"]).with_name("report.md").read_text(encoding="utf-8")
    assert "Bits a byte of the validation text: elsewhere " in markdown
    assert "is equal in all of these" in markdown
    assert "Samples by step" in markdown


def test_a_sweep_of_another_model_is_not_shown() -> None:
    """The preset's name is not enough; on another text the vocabulary may be another one."""
    own = recipe_of(smoke())
    assert has_same_model(own, own, is_same_text=True)
    assert has_same_model({}, own, is_same_text=True)
    for name, is_same_elsewhere in (("d_model", False), ("vocab_size", True)):
        other = {**own, "model": {**own["model"], name: 64}}
        assert not has_same_model(other, own, is_same_text=True)
        assert has_same_model(other, own, is_same_text=False) == is_same_elsewhere
    shorter = {**own, "train_lm": {**own["train_lm"], "max_steps": 7}}
    assert has_same_model(shorter, own, is_same_text=True)


def test_an_empty_store_gives_a_page_of_commands(report: Any, tmp_path: Path) -> None:
    """Nothing is built when it was asked not to."""
    summary = report(root=tmp_path / "data", make_missing=False)
    page = Path(summary["page"]).read_text(encoding="utf-8")
    check_page(page)
    assert summary["made_from"] == []
    assert "Not run yet" in page
    assert "<b>Not run:</b> the training." in page


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_sweeps_of_the_smoke_report_are_run_once(report: Any, tmp_path: Path) -> None:
    """Four rates, one lost; three batches; three ablations and a floor with three seeds."""
    root = tmp_path / "data"
    summary = report(root=root, with_sweeps=True)
    page = Path(summary["page"]).read_text(encoding="utf-8")
    check_page(page)
    assert "Every trial of the sweeps has 100 steps" in page
    assert "The first that diverged is" in page
    models = sorted((root / "artifacts" / "train_lm").iterdir())
    # Rates, batches and seeds share the baseline of the ablations; the run itself is shorter.
    assert len(models) == 1 + 4 + 3 + 3 * 4 - 2
    assert report(root=root, with_sweeps=True)["page"] == summary["page"]


def test_each_sweep_of_the_smoke_report_has_its_command() -> None:
    """The command of a figure gives that figure, not the usual sweep of its kind."""
    rates, batches, ablations, seeds = (
        command_of(request, SMOKE, "--preset smoke") for request in SMOKE.requests
    )
    assert rates.startswith("owt sweep learning-rate --preset smoke --set train_lm.max_steps=100 ")
    assert rates.endswith("--grid train_lm.max_learning_rate=0.001,0.01,0.03,10.0")
    assert batches.endswith("--grid train_lm.batch_size=4,16,64 --hold steps")
    assert ablations.endswith("--arms 'no RMSNorm,NoPE,SiLU' --seeds 3 --rates 1")
    assert seeds.endswith("--seeds 3")


def test_the_arguments_of_a_report_can_be_pasted() -> None:
    """Config file and settings become options, quoted for a shell."""
    found = arguments_of("smoke", ['generate.prompts=["a b"]'], {"model": {"d_model": 64}})
    assert found == "--preset smoke --set model.d_model=64 --set 'generate.prompts=[\"a b\"]'"
