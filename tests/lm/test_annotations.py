"""The tests check `lm/` against its annotations while they run (`addopts` in pyproject.toml)."""

import jaxtyping
import pytest
import torch

from lm.model.functional import rms_normalize
from lm.model.layers import Linear


def test_a_wrong_shape_is_an_error() -> None:
    """A gain of 3 does not fit features of 4, in a function and through a module."""
    with pytest.raises(jaxtyping.TypeCheckError, match="weight"):
        rms_normalize(torch.zeros(2, 4), torch.ones(3), 1e-5)
    with pytest.raises(jaxtyping.TypeCheckError, match="x"):
        Linear(4, 3)(torch.zeros(2, 4, dtype=torch.long))
