"""What this machine has, and how a run should use it: device, compiler, attention, micro-batch.

The choice is a record, printed and stored beside the result, never fingerprinted: it changes
speed and memory, and results only within rounding. The same machine gives the same choice.
"""

import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from lm.accounting.memory import LOSS_CHUNK, largest_loss_chunk, largest_micro_batch
from lm.config import ModelConfig, Precision, RunOptions, TrainConfig

FP32_MATMUL_SWITCHES = {"mkl": "highest", "onednn": "medium", "ieee": "highest", "tf32": "high"}
"""torch's `float32_matmul_precision` for each route. On a CPU "medium" lets oneDNN take the
product; without AMX its fp32 kernels then run, in true fp32 (checked by `is_exact`)."""

_MIN_STEPS_TO_COMPILE = 200
"""Shorter runs end before compilation is worth it: it took 14 to 56 s, minutes under load."""

_CPU_TOKENS = 2048
"""Tokens of a micro-batch on a CPU. Products of 2,048 rows run at full speed; 8,192 took 1.9 times
the memory, at the same speed a token within the noise of a busy machine."""

_USABLE_SHARE = 0.8
"""Share of the free memory that a run plans with; the rest is for fragmentation and the system."""

_TOKENS_SHARE = 0.1
"""Share of a GPU's free memory that the training tokens may take: half of what is kept back."""

_GRAPH_TOKENS = 16_384
"""Tokens of a step up to which it is made a CUDA graph. On an H200 a graph gained nothing at
32,768 tokens, where the device works longer than the host needs to launch."""

_EXACT_LIMIT = 1e-5
"""Largest relative error of a true fp32 product: n terms are within about sqrt(n) * 2^-24 of the
true sum, bf16 within 2^-9."""


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
    """`sdpa`: torch's fused kernels; `blocked`: as in `lm/fast/blocked_attention.py`;
    `math`: the faithful one."""
    micro_batch_size: int
    """Sequences a forward pass; the gradient is accumulated up to the batch."""
    num_threads: int
    """Threads of torch's CPU operators."""
    fp32_matmul: str
    """Who multiplies fp32 matrices: on a CPU `mkl` or `onednn`, on CUDA `ieee` or `tf32`."""
    loss_form: str = "unrolled"
    """How the fast path computes the loss (`lm/fast/chunked_loss.py`)."""
    loss_chunk: int = LOSS_CHUNK
    """Positions whose logits are held at once."""
    decisions: str = "host"
    """Who tests for spikes, clips and skips: the host after each step, or the device
    (`lm/training/step/ahead.py`)."""
    tokens: str = "mapped"
    """Where batches are cut: from the mapped files, or on the device
    (`lm/data/device_tokens.py`)."""
    products: str = "separate"
    """Products that share their input: `separate` or `joined` (`lm/fast/joined_products.py`)."""
    graphs: bool = False
    """Whether a whole step is one CUDA graph (`lm/training/step/step_graph.py`)."""
    deterministic: bool = False
    """Whether a GPU uses deterministic kernels (`lm/machine/determinism.py`)."""
    notes: tuple[str, ...] = ()
    """One line per request or default that could not be met."""


def choose_device(options: RunOptions) -> str:
    """Return the device to use; `ValueError` where one is asked for that is not there."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    there = [name for name, is_there in available.items() if is_there]
    if options.device == "auto":
        return there[0]
    if options.device not in there:
        raise ValueError(
            f"device ({options.device!r}) is not available here; there is {', '.join(there)}; "
            "take device='auto', or install a build of torch for it"
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
        return importlib.util.find_spec("triton") is not None
    return device == "cpu" and any(shutil.which(name) for name in ("g++", "clang++"))


def is_exact(route: str) -> bool:
    """Tell whether fp32 products on a CPU are true fp32 on this route; one product is checked."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 256, 256, generator=generator).unbind()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(FP32_MATMUL_SWITCHES[route])
    try:
        product = left @ right
    finally:
        torch.set_float32_matmul_precision(before)
    truth = left.double() @ right.double()
    return float((product - truth).abs().max() / truth.abs().max()) < _EXACT_LIMIT


def processor_vendor() -> str:
    """Return the processor's maker as it names itself, or an empty string."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return platform.processor()


def free_memory_bytes(device: str) -> int:
    """Return the memory that is free on the device."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def choose_plan(model_config: ModelConfig, train_config: TrainConfig, options: RunOptions) -> Plan:
    """Return how a training run should use this machine.

    Raises:
        ValueError: The device, the precision or the compiler asked for is not there.
    """
    device = choose_device(options)
    check_precision(device, train_config.precision)
    notes: list[str] = []
    should_compile = _choose_compile(device, train_config, options, notes)
    micro_batch_size = _choose_micro_batch(device, model_config, train_config, options, notes)
    loss_form, loss_chunk = choose_loss(
        device, model_config, train_config, options, micro_batch_size=micro_batch_size
    )
    return Plan(
        device=device,
        fast=options.fast,
        compile=should_compile,
        attention=_choose_attention(device, options, should_compile=should_compile),
        micro_batch_size=micro_batch_size,
        num_threads=options.num_threads or torch.get_num_threads(),
        fp32_matmul=_choose_fp32_matmul(device, train_config.precision, options),
        loss_form=loss_form,
        loss_chunk=loss_chunk,
        decisions=_choose_decisions(device, options),
        products=_choose_products(device, options, should_compile=should_compile),
        graphs=_choose_graphs(device, model_config, train_config, options),
        deterministic=device == "cuda" and options.deterministic,
        notes=tuple(notes),
    )


def _choose_compile(
    device: str, config: TrainConfig, options: RunOptions, notes: list[str]
) -> bool:
    if options.compile == "off" or not options.fast:
        return False
    if not has_compiler(device):
        notes.append(f"no compiler found for device {device!r}: running eagerly, slower")
        return False
    if options.compile == "on":
        return True
    # On MPS and in short runs compilation does not pay.
    return bool(config.max_minutes) or config.max_steps >= _MIN_STEPS_TO_COMPILE


def _choose_attention(device: str, options: RunOptions, *, should_compile: bool) -> str:
    if not options.fast or options.attention == "math":
        return "math"
    is_blocked = options.attention == "auto" and device == "cpu" and should_compile
    return "blocked" if is_blocked else "sdpa"


def _choose_fp32_matmul(device: str, precision: Precision, options: RunOptions) -> str:
    if device == "cuda":
        return "tf32" if precision == "tf32" else "ieee"
    if device != "cpu" or not options.fast:
        return "mkl"
    # MKL takes its slow path on AMD's processors; oneDNN is measured 2.2 times as fast there.
    is_amd = "AMD" in processor_vendor()
    return "onednn" if is_amd and is_exact("onednn") else "mkl"


def _choose_decisions(device: str, options: RunOptions) -> str:
    if options.decisions != "auto":
        return options.decisions
    return "device" if device == "cuda" and options.fast else "host"


def _choose_products(device: str, options: RunOptions, *, should_compile: bool) -> str:
    if options.products != "auto":
        return options.products
    return "joined" if device == "cuda" and should_compile else "separate"


def _choose_graphs(
    device: str, model_config: ModelConfig, train_config: TrainConfig, options: RunOptions
) -> bool:
    is_possible = (
        device == "cuda"
        and _choose_decisions(device, options) == "device"
        and options.num_processes == 1
    )
    if not is_possible or options.graphs == "off":
        return False
    tokens = train_config.batch_size * model_config.context_length
    return options.graphs == "on" or tokens <= _GRAPH_TOKENS


def choose_token_place(device: str, options: RunOptions, *, size_bytes: int) -> str:
    """Return where batches are cut, for training tokens of this size."""
    if options.tokens != "auto":
        return options.tokens
    fits = device == "cuda" and size_bytes <= _TOKENS_SHARE * free_memory_bytes(device)
    return "device" if fits else "mapped"


def choose_loss(
    device: str,
    model_config: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    *,
    micro_batch_size: int,
) -> tuple[str, int]:
    """Return form and chunk of the loss: small chunks on a CPU, as large as fit on a GPU.

    64 chunks of 512 halved the speed of a step on an H200, against one chunk of 32,768.
    """
    positions = micro_batch_size * model_config.context_length
    if options.loss_chunk:
        chunk = min(options.loss_chunk, positions)
    elif device == "cuda":
        chunk = largest_loss_chunk(
            model_config,
            free_bytes=int(_USABLE_SHARE * free_memory_bytes(device)),
            micro_batch_size=micro_batch_size,
            precision=train_config.precision,
            optimizer=train_config.optimizer,
        )
    else:
        return "unrolled", LOSS_CHUNK
    if chunk == positions:
        return "whole", chunk
    return ("loop" if device == "cuda" else "unrolled"), chunk


def _choose_micro_batch(
    device: str,
    model_config: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    notes: list[str],
) -> int:
    share = -(-train_config.batch_size // options.num_processes)
    if options.micro_batch_size:
        return min(options.micro_batch_size, share)
    free_bytes = int(_USABLE_SHARE * free_memory_bytes(device))
    fitting = largest_micro_batch(
        model_config,
        free_bytes=free_bytes // (options.num_processes if device == "cpu" else 1),
        batch_size=share,
        precision=train_config.precision,
        optimizer=train_config.optimizer,
    )
    wanted = _full_speed_micro_batch(device, model_config.context_length, share)
    if fitting < wanted:
        notes.append(
            f"{free_bytes / 2**30:.1f} GiB are usable: the batch of {share} is computed in "
            f"micro-batches of at most {fitting}"
        )
    return min(fitting, wanted)


def _full_speed_micro_batch(device: str, context_length: int, share: int) -> int:
    """Return the smallest divisor of `share` that runs at the device's full speed."""
    if device != "cpu":
        return share
    enough = -(-_CPU_TOKENS // context_length)
    return next((n for n in range(enough, share) if share % n == 0), share)
