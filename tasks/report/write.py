"""Stage `report`: the page about a run and its sweeps, from artifacts that are in the store."""

from dataclasses import asdict

from prefect import task
from prefect.client.schemas.objects import State

from artifacts.building.staging import Staging, add_part
from artifacts.identity import Identity, Reference
from artifacts.record import Record
from artifacts.store import Store
from tasks.context import RunContext, store_of
from tasks.execution.building import Built, build_once
from tasks.execution.prediction import Outlook, Prediction, predict_work
from tasks.report.settings import ReportSettings
from tasks.stage import STAGE_OPTIONS, Shown, Stage, perform_by
from tasks.tracking.runs import stage_run

STAGE = "report"
VERSION = 2

HTML, MARKDOWN = "report.html", "report.md"


def report_identity(settings: ReportSettings, **inputs: Reference) -> Identity:
    """Return what the page depends on: what it is asked about, and every artifact it shows.

    The arguments are left out: they may name places of one machine.
    """
    config = asdict(settings)
    del config["arguments"]
    return Identity(stage=STAGE, version=VERSION, config=config, inputs=inputs)


@task(name=STAGE, task_run_name=STAGE, **STAGE_OPTIONS)
def report(context: RunContext, identity: Identity, settings: ReportSettings) -> State[Reference]:
    """Write the page, its Markdown and its figures."""

    def build(staging: Staging) -> Built:
        from tasks.report.content import write_report
        from tasks.report.evidence import gather
        from tasks.report.figures.themed_svg import standalone
        from tasks.report.page import to_html, to_markdown

        page = write_report(gather(store_of(context), settings, identity.inputs))
        files = {HTML: to_html(page), MARKDOWN: to_markdown(page)}
        files |= {f"figures/{figure.name}.svg": standalone(figure.svg) for figure in page.figures}
        for name, text in files.items():
            path = staging.workdir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            add_part(staging, path, name)
        tags = {"fingerprint": identity.fingerprint, "stage": STAGE}
        params = {"preset": settings.preset, "order": settings.order}
        with stage_run(context.tracking, STAGE, params=params, tags=tags) as run:
            run.log_text(files[HTML], HTML)
        statistics = {"verdict": page.verdict, "num_figures": len(page.figures)}
        # Times and speeds are on the page, so two builds of the same inputs may differ.
        return Built(statistics=statistics, volatile=tuple(files), mlflow_run_id=run.run_id or None)

    return build_once(context, identity, build)


def predict(settings: ReportSettings, outlook: Outlook) -> Prediction:
    """Predict the time of the newest report."""
    del settings
    return predict_work(outlook, STAGE)


def show(store: Store, record: Record) -> Shown:
    """Show the verdict."""
    del store
    return Shown(line=str(record.statistics["verdict"]))


REPORT = Stage(
    name=STAGE, identify=report_identity, perform=perform_by(report), predict=predict, show=show
)
