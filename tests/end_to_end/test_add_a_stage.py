"""`docs/add-a-stage.md` is true: its edits and commands, in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.store import open_store
from flows.plan import plan_stages
from flows.presets import find_preset
from tests.checkout_copy import ROOT, copy_checkout

PAGE = (ROOT / "docs" / "add-a-stage.md").read_text(encoding="utf-8")
CODE = r":\n\n```python\n(.*?)```"
EDIT = re.compile(rf"In `([^`]+)`,\s(below|instead of)\sthe\sline\s`([^`]+)`{CODE}", re.S)
END = re.compile(rf"At\sthe\send\sof\s`([^`]+)`{CODE}", re.S)
NEW_FILE = re.compile(rf"A\snew\sfile\s`([^`]+)`{CODE}", re.S)
COMMANDS = re.compile(r"```\n((?:\.venv/bin/owt .*\n)+)```")

pytestmark = pytest.mark.slow


def follow_the_page(checkout: Path) -> None:
    """Make the edits that the page names."""
    for name, text in NEW_FILE.findall(PAGE):
        (checkout / name).write_text(text, encoding="utf-8")
    for name, text in END.findall(PAGE):
        with (checkout / name).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{text}")
    for name, where, line, text in EDIT.findall(PAGE):
        path = checkout / name
        before, anchor, after = path.read_text(encoding="utf-8").partition(f"\n{line}\n")
        assert anchor, f"{name} has no line {line!r}"
        kept = anchor if where == "below" else "\n"
        path.write_text(f"{before}{kept}{text}{after}", encoding="utf-8")


def run_command(command: str, checkout: Path) -> str:
    """Run a line of the page as typed, in the checkout."""
    mine = ("PREFECT_", "MLFLOW_", "OWT_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    done = subprocess.run(
        command, shell=True, cwd=checkout, env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout to which the page's stage was added."""
    copy = copy_checkout(tmp_path_factory.mktemp("checkout"))
    follow_the_page(copy)
    return copy


def test_a_stage_is_one_file_one_line_and_one_section(checkout: Path) -> None:
    """After the page's edits its commands plan, build, show and trace the new stage."""
    edits = [*NEW_FILE.findall(PAGE), *END.findall(PAGE), *EDIT.findall(PAGE)]
    assert len(edits) == PAGE.count("```python\n") == 6
    (commands,) = COMMANDS.findall(PAGE)
    download, plan, run, lineage = commands.splitlines()
    assert "download train" in run_command(download, checkout)

    planned = run_command(plan, checkout)
    assert re.search(r"download train +HIT", planned)
    assert re.search(r"list_words +MISS", planned)

    first = run_command(run, checkout)
    assert "1 of 3 stages built" in first
    assert re.search(r"[\d,]+ different words", first)
    assert "0 of 3 stages built" in run_command(run, checkout)

    traced = run_command(lineage, checkout)
    assert "list_words/" in traced
    assert "download/" in traced


def test_the_code_of_the_page_is_clean(checkout: Path) -> None:
    """Style and import contracts hold in the copy."""
    shutil.copy(ROOT / "pyproject.toml", checkout)
    tools = Path(sys.executable).parent
    edited = [name for edit in (NEW_FILE, END, EDIT) for name, *_ in edit.findall(PAGE)]
    names = " ".join(sorted(set(edited)))
    run_command(f"{tools}/ruff check {names}", checkout)
    run_command(f"{tools}/ruff format --check {names}", checkout)
    run_command(f"{tools}/lint-imports --no-cache", checkout)


def test_no_other_stage_changes(checkout: Path, tmp_path: Path) -> None:
    """The plan of the whole pipeline has the fingerprints that it has without the new stage."""
    planned = run_command(".venv/bin/owt plan --preset smoke", checkout)
    rows = re.findall(r"^ (\w+(?: \w+)?) +(?:HIT|MISS) +([0-9a-f]{16})", planned, re.M)
    expected = [
        (f"{row.stage} {row.label}".strip(), row.fingerprint)
        for row in plan_stages(find_preset("smoke"), open_store(tmp_path), tmp_path)
    ]
    assert [row for row in rows if row[0] != "list_words"] == expected
    assert len(rows) == len(expected) + 1
