"""The catalogue of devices is consistent in itself."""

import pytest

from lm.accounting.devices import DEVICES, find_device


@pytest.mark.parametrize("name", DEVICES)
def test_rates_are_dense(name: str) -> None:
    """A bf16 product is twice as fast as a tf32 one; a sparse rate among dense ones would show."""
    rates = DEVICES[name].peak_flops
    assert rates["bf16"] / rates["tf32"] == pytest.approx(2.0, rel=0.03)
    assert rates["fp32"] <= rates["tf32"]


def test_an_unknown_device_is_refused_with_the_list() -> None:
    """The message names what there is."""
    with pytest.raises(ValueError, match="unknown device 'v100'; allowed: a100, h100"):
        find_device("v100")
