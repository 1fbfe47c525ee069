"""What importing the tokenizer's configuration costs."""

import subprocess
import sys


def test_importing_the_config_is_light() -> None:
    """It loads neither an array library, nor a compiler, nor a file system."""
    program = (
        "import sys, tokenizer, tokenizer.config;"
        "heavy = {'numpy', 'numba', 'pyarrow', 'fsspec', 'torch'} & set(sys.modules);"
        "sys.exit(', '.join(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stderr.strip() == b""
