"""An out-of-memory error that names the micro-batch that would fit."""

import contextlib
from collections.abc import Iterator

import torch

from lm.accounting.memory import largest_micro_batch, training_memory
from lm.config import ModelConfig, TrainConfig
from lm.machine.probe import Plan, free_memory_bytes

_CPU_ALLOCATOR_MESSAGE = "DefaultCPUAllocator"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch or Python could not get memory, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR_MESSAGE in str(error)


def out_of_memory_message(
    model_config: ModelConfig, train_config: TrainConfig, plan: Plan, *, free_bytes: int
) -> str:
    """Return what was tried, what it takes, and the setting that would fit in `free_bytes`."""
    fitting = largest_micro_batch(
        model_config,
        free_bytes=free_bytes,
        batch_size=max(1, min(plan.micro_batch_size - 1, train_config.batch_size)),
        precision=train_config.precision,
        optimizer=train_config.optimizer,
    )
    sizes = (plan.micro_batch_size, fitting)
    needed = [
        sum(
            training_memory(
                model_config,
                micro_batch_size=size,
                precision=train_config.precision,
                optimizer=train_config.optimizer,
                loss_chunk=plan.loss_chunk,
            ).values()
        )
        / 2**30
        for size in sizes
    ]
    return (
        f"out of memory on {plan.device} with micro_batch_size ({sizes[0]}), which takes about "
        f"{needed[0]:.1f} GiB of {free_bytes / 2**30:.1f} GiB; micro_batch_size={sizes[1]} would "
        f"take about {needed[1]:.1f} GiB, with the same global batch and result"
    )


@contextlib.contextmanager
def explain_out_of_memory(
    model_config: ModelConfig, train_config: TrainConfig, plan: Plan
) -> Iterator[None]:
    """Turn an out-of-memory error inside into a `MemoryError` that says what would fit."""
    free_bytes = free_memory_bytes(plan.device)
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = out_of_memory_message(model_config, train_config, plan, free_bytes=free_bytes)
        raise MemoryError(message) from error
