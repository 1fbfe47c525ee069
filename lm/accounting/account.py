"""The account of one model: parameters, FLOPs, memory and training time, as plain data.

What `owt account` prints and the report shows; every number follows from the configuration.
"""

from dataclasses import dataclass

from lm.accounting.course import AdamWMemory, adamw_memory
from lm.accounting.flops import TRAINING_TO_FORWARD, forward_flops, optimizer_flops
from lm.accounting.memory import FP32_BYTES, largest_micro_batch, training_memory
from lm.accounting.parameters import num_parameters, parameters_by_component
from lm.config import ModelConfig, OptimizerName, TrainConfig

SECONDS_PER_DAY = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """What a training time is computed for."""

    name: str
    memory_bytes: int
    precision: str
    peak_flops: float
    """FLOP/s of dense products in this precision."""
    mfu: float
    """Share of the peak that the model's FLOPs reach (PaLM, appendix B)."""
    source: str
    """Where the peak is from."""

    def __post_init__(self) -> None:
        """Refuse shares that no machine reaches."""
        if not 0.0 < self.mfu <= 1.0:
            raise ValueError(f"mfu ({self.mfu}) must be above 0 and at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForwardFlops:
    """FLOPs of one forward pass of one sequence."""

    name: str
    context_length: int
    num_parameters: int
    total: int
    by_component: dict[str, int]
    shares: dict[str, float]
    """The components over the total."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTime:
    """FLOPs and time of a whole training on one device."""

    max_steps: int
    batch_size: int
    num_tokens: int
    flops: int
    """Forward and backward; the optimizer's are under one in 1,000 at any usual batch."""
    seconds: float

    @property
    def days(self) -> float:
        """Return the time in days of 24 hours."""
        return self.seconds / SECONDS_PER_DAY

    @property
    def hours(self) -> float:
        """Return the time in hours."""
        return self.seconds / 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Everything that is known of a model before it exists."""

    name: str
    parameters: dict[str, int]
    num_parameters: int
    fp32_bytes: int
    forward: ForwardFlops
    training_flops_per_token: int
    optimizer: OptimizerName
    optimizer_flops: int
    """FLOPs of one step of this optimizer."""
    adamw_memory: AdamWMemory
    largest_batch: int
    """Sequences that fit the device, by `adamw_memory`."""
    fast_path_micro_batch: int
    """Largest divisor of the batch that fits the device on our eager fast path; at least 1."""
    fast_path_memory: dict[str, int]
    """Bytes of a step of that micro-batch, by part."""
    hardware: Hardware
    training: TrainingTime


def account_for(
    name: str, model: ModelConfig, train: TrainConfig, hardware: Hardware, *, edition: int
) -> Account:
    """Account for one model, its training, and the device it is to be trained on.

    Args:
        name: What the model is called.
        model: Its shape.
        train: Batch, steps, optimizer and number format of its training.
        hardware: For the largest batch and the time.
        edition: Year of the hand-out whose list of activations is counted.
    """
    by_list = adamw_memory(model, edition=edition)
    forward = count_forward(name, model)
    micro_batch_size = largest_micro_batch(
        model,
        free_bytes=hardware.memory_bytes,
        batch_size=train.batch_size,
        precision=train.precision,
        optimizer=train.optimizer,
    )
    return Account(
        name=name,
        parameters=parameters_by_component(model),
        num_parameters=num_parameters(model),
        fp32_bytes=FP32_BYTES * num_parameters(model),
        forward=forward,
        training_flops_per_token=TRAINING_TO_FORWARD * forward.total // model.context_length,
        optimizer=train.optimizer,
        optimizer_flops=optimizer_flops(model, optimizer=train.optimizer),
        adamw_memory=by_list,
        largest_batch=by_list.largest_batch(hardware.memory_bytes),
        fast_path_micro_batch=micro_batch_size,
        fast_path_memory=training_memory(
            model,
            micro_batch_size=micro_batch_size,
            precision=train.precision,
            optimizer=train.optimizer,
        ),
        hardware=hardware,
        training=training_time(model, train, hardware),
    )


def count_forward(name: str, model: ModelConfig) -> ForwardFlops:
    """Count one forward pass of one sequence of the whole context."""
    parts = forward_flops(model)
    total = sum(parts.values())
    return ForwardFlops(
        name=name,
        context_length=model.context_length,
        num_parameters=num_parameters(model),
        total=total,
        by_component=parts,
        shares={part: flops / total for part, flops in parts.items()},
    )


def training_time(model: ModelConfig, train: TrainConfig, hardware: Hardware) -> TrainingTime:
    """Predict a training at a share of the device's peak; backward is twice forward."""
    sequences = train.max_steps * train.batch_size
    flops = TRAINING_TO_FORWARD * sequences * sum(forward_flops(model).values())
    return TrainingTime(
        max_steps=train.max_steps,
        batch_size=train.batch_size,
        num_tokens=sequences * model.context_length,
        flops=flops,
        seconds=flops / (hardware.mfu * hardware.peak_flops),
    )
