"""What this machine has, and how a run should use it: device, compiler, attention, micro-batch.

The choice is a record, printed and stored beside the result, never fingerprinted: it changes
speed and memory, and results only within rounding.
"""

import shutil
from dataclasses import dataclass

import torch

from lm.config import ModelConfig, Precision, RunOptions, TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How a run uses the machine."""

    device: str
    """Where tensors live: cpu, cuda or mps."""
    fast: bool
    """The fast path, or the faithful modules."""
    compile: bool
    """Whether the training step is compiled."""
    attention: str
    """`sdpa`: torch's fused kernels; `math`: the faithful attention."""
    micro_batch_size: int
    """Sequences a forward pass; the gradient is accumulated up to the batch."""
    num_threads: int
    """Threads of torch's CPU operators."""
    fp32_matmul: str
    """Who multiplies fp32 matrices: `onednn`, `default`, or `tf32` on CUDA."""
    notes: tuple[str, ...] = ()
    """One line for each thing that was asked for or usual, and is not so."""


def choose_device(options: RunOptions) -> str:
    """Return the device to use; `ValueError` where one is asked for that is not there."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if options.device == "auto":
        return next(name for name, is_there in available.items() if is_there)
    if not available[options.device]:
        raise ValueError(
            f"device ({options.device!r}) is not available here; there is "
            f"{', '.join(name for name, is_there in available.items() if is_there)}; "
            "take device='auto' or install a torch build for it"
        )
    return options.device


def check_precision(device: str, precision: Precision) -> None:
    """Raise `ValueError` where the device does not have the precision."""
    if precision == "tf32" and device != "cuda":
        raise ValueError(
            f"precision ('tf32') needs a CUDA device, the device is {device!r}; "
            "take precision='fp32' or 'bf16'"
        )
    if precision == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError("precision ('bf16') is not supported by this GPU; take 'fp32'")


def has_compiler(device: str) -> bool:
    """Tell whether `torch.compile` can work: a C++ compiler for the CPU, Triton for CUDA."""
    if device == "cuda":
        return bool(torch.utils._triton.has_triton())
    if device == "mps":
        return False
    return any(shutil.which(name) for name in ("g++", "clang++"))


def choose_plan(model_config: ModelConfig, train_config: TrainConfig, options: RunOptions) -> Plan:
    """Return how a training run should use this machine.

    Raises:
        ValueError: The device or the precision asked for is not there.
    """
    device = choose_device(options)
    check_precision(device, train_config.precision)
    del model_config
    notes: list[str] = []
    fast = options.fast
    should_compile = _choose_compile(device, options, notes)
    return Plan(
        device=device,
        fast=fast,
        compile=should_compile,
        attention="sdpa" if fast and options.attention != "math" else "math",
        micro_batch_size=options.micro_batch_size or train_config.batch_size,
        num_threads=options.num_threads or torch.get_num_threads(),
        fp32_matmul="default",
        notes=tuple(notes),
    )


def _choose_compile(device: str, options: RunOptions, notes: list[str]) -> bool:
    if options.compile == "off" or not options.fast:
        return False
    if has_compiler(device):
        return True
    notes.append(f"no compiler for device {device!r} found: running eagerly")
    return False
