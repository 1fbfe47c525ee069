"""A password or a signature in an address is refused, and not repeated in the message."""

import pytest

from flows.config import resolve_config
from flows.presets import find_preset

SECRET = "hunter2"


@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{SECRET}@example.org/text.gz",
        f"ftp://{SECRET}@example.org/text.gz",
        f"https://example.org/text.gz?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"https://example.org/text.gz?sv=1&sig={SECRET}",
        f"https://example.org/text.gz?access_token={SECRET}",
    ],
)
@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_address_with_a_way_in_is_refused(address: str, split: str) -> None:
    """Addresses are kept in records, MLflow and Prefect, and printed by plan."""
    with pytest.raises(ValueError, match="password or a signature") as error:
        resolve_config(find_preset("smoke"), None, [f"corpus.{split}={address}"])
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a@b/text.txt",
        "https://example.org/text.gz?download=true&keyword=stories",
        "/home/user@host/text.txt",
    ],
)
def test_other_addresses_are_taken(address: str) -> None:
    """An @ in a path, or a harmless parameter, is no way in."""
    config = resolve_config(find_preset("smoke"), None, [f"corpus.train={address}"])
    assert config.corpus.train == address
