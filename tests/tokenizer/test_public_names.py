"""The package's public names: all there, and none imported before it is used."""

import subprocess
import sys

import pytest

import tokenizer


@pytest.mark.parametrize("name", tokenizer.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """What the package promises can be imported from it."""
    assert getattr(tokenizer, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Tokeniser'"):
        _ = tokenizer.Tokeniser


def test_importing_the_package_and_its_config_is_light() -> None:
    """Neither loads an array library, a compiler or a file system."""
    program = (
        "import sys, tokenizer, tokenizer.config;"
        "heavy = {'numpy', 'numba', 'pyarrow', 'fsspec', 'torch'} & set(sys.modules);"
        "sys.exit(', '.join(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stderr.strip() == b""
