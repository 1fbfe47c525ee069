"""The Dockerfile read without building: what its arguments make of both kinds of image.

The image for GPUs needs 10 GB from the package index and is never built by a test.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.checkout_copy import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
TORCH = next(
    line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:7] == "torch=="
)


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its arguments, on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def defaults() -> dict[str, str]:
    """Return the build arguments with their defaults."""
    arguments = (rest.partition("=") for word, rest in instructions() if word == "ARG")
    return {name: value.strip('"') for name, _, value in arguments}


def installed_torch(tmp_path: Path, **build_arguments: str) -> str:
    """Return the arguments of pip in the layer of torch, as the image's shell expands them."""
    (layer,) = [rest for word, rest in instructions() if word == "RUN" and "TORCH_INDEX" in rest]
    (tmp_path / "constraints.txt").write_text((ROOT / "constraints.txt").read_text())
    done = subprocess.run(
        ["sh", "-c", f'pip() {{ echo "$*"; }}; {layer}'],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **defaults(), **build_arguments},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_without_arguments_the_image_is_the_one_for_gpus(tmp_path: Path) -> None:
    """The index's own wheel of torch, which holds CUDA, on a plain Debian with our Python."""
    assert installed_torch(tmp_path) == f"install --no-cache-dir {TORCH}"
    assert "+" not in TORCH  # a version such as 2.13.0+cpu would be no wheel of the index
    assert defaults()["BASE_IMAGE"] == "python:3.11-slim-bookworm"
    assert ("FROM", "${BASE_IMAGE}") in instructions()


def test_an_index_gives_the_image_for_cpus(tmp_path: Path) -> None:
    """The command of docker/README.md and of `make image`."""
    index = "https://download.pytorch.org/whl/cpu"
    expanded = installed_torch(tmp_path, TORCH_INDEX=index)
    assert expanded == f"install --no-cache-dir --index-url {index} {TORCH}"
    for name in ("docker/README.md", "Makefile"):
        assert index in (ROOT / name).read_text(encoding="utf-8")


def test_each_argument_is_declared_before_it_is_used() -> None:
    """An argument from before FROM is empty after it: Docker expands it to nothing, in silence."""
    known: set[str] = set()
    for word, rest in instructions():
        used = set(re.findall(r"\$\{(\w+)", rest)) - {"package"}
        assert used <= known, f"{word} {rest} uses {used - known}"
        if word == "FROM":
            known = set()
        if word == "ARG":
            known.add(rest.partition("=")[0])


@pytest.mark.parametrize("name", ["Makefile", "docker/README.md", "docs/deployment.md"])
def test_commands_give_no_argument_that_the_dockerfile_has_not(name: str) -> None:
    """Docker only warns of such an argument."""
    given = re.findall(r"--build-arg (\w+)=", (ROOT / name).read_text(encoding="utf-8"))
    assert set(given) <= set(defaults())


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    """`.dockerignore` keeps all out but what it names."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    everything, *let_in = [line for line in lines if line[:1] != "#"]
    assert everything == "*"
    for word, rest in instructions():
        for source in rest.split()[:-1] if word == "COPY" else ():
            assert (ROOT / source).exists()
            assert f"!{source}" in let_in


def test_no_image_is_needed_to_read_the_dockerfile() -> None:
    """A "# syntax=" line would fetch one before anything is built."""
    assert "syntax=" not in DOCKERFILE.read_text(encoding="utf-8")
