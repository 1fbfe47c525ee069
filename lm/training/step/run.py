"""The objects of a training run, and how they are copied to a checkpoint and restored from it."""

from dataclasses import asdict, dataclass, field

import torch

from lm.checkpoint.durable import Checkpoint, JsonObject
from lm.checkpoint.weights import (
    copy_to_cpu,
    load_weights,
    put_tensors,
    select_prefix,
    take_tensors,
)
from lm.config import ModelConfig, TrainConfig
from lm.data.device_tokens import DeviceLoader
from lm.data.loader import BatchLoader, BatchSource, read_batch
from lm.data.shards import TokenShards, check_length, check_token_ids, open_shards
from lm.fast.switch import use_plan
from lm.machine.distributed import Processes
from lm.machine.probe import Plan
from lm.model.transformer import TransformerLM, plain_state_dict
from lm.optim.parameter_groups import build_optimizer
from lm.training.job.job import TrainJob
from lm.training.job.resume import config_facts
from lm.training.step.ahead import Ahead, new_ahead
from lm.training.step.clock import Clock, Stopwatch
from lm.training.step.compiled import LossFunction, build_loss, compile_loss
from lm.training.step.state import TrainState, state_from_json, state_to_json
from lm.training.step.step_graph import StepGraph

ANCHOR_INTERVAL = 512
"""Steps between anchors: four windows of `spikes.py`. Steps and not minutes, so that a resumed run
returns to the same anchor."""


FACTS = ("config", "state", "plan", "optimizers", "metrics")
"""Names of the facts in a checkpoint of a run."""


@dataclass(kw_only=True)
class TrainingRun:
    """A run between two steps or, while `is_whole` is false, inside an update."""

    model_config: ModelConfig
    train_config: TrainConfig
    plan: Plan
    processes: Processes
    valid_shards: TokenShards
    loader: BatchLoader | DeviceLoader
    model: TransformerLM
    average: TransformerLM | None
    """Exponential moving average of the weights; None where it is off."""
    loss: LossFunction
    optimizer: torch.optim.Optimizer
    clock: Clock
    config_facts: JsonObject
    """What must be the same in a checkpoint of this run (`lm/training/job/resume.py`)."""
    peak_flops: float = 0.0
    """FLOP/s of a large matrix product in one process; 0: not measured."""
    first_step_s: float = 0.0
    """Seconds of this process's first step, in which it compiles; 0: not done yet."""
    anchor_interval: int = ANCHOR_INTERVAL
    """Steps between the checkpoints to which spikes lead back."""
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    state: TrainState = field(default_factory=TrainState)
    is_whole: bool = True
    """Whether weights, optimizer and state belong to the same step."""
    ahead: Ahead | None = None
    """What the device has done and the host has not read; None where the host decides."""
    graph: StepGraph | None = None
    """The step as one CUDA graph; made with the first step, where the plan says so."""

    @property
    def step(self) -> int:
        """Steps that were started; `state` may still be that of an earlier one."""
        return self.state.step + (0 if self.ahead is None else self.ahead.num_steps)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return self.model.output_weight.device

    @property
    def published_model(self) -> TransformerLM:
        """The weights that are evaluated and published: the average where there is one."""
        return self.model if self.average is None else self.average


@dataclass(frozen=True)
class Splits:
    """The opened and checked token shards of both splits."""

    train: TokenShards
    valid: TokenShards


def open_splits(job: TrainJob) -> Splits:
    """Open both splits; `ValueError` for unknown ids or less than one window."""
    splits = Splits(open_shards(job.train_shards), open_shards(job.valid_shards))
    for shards in (splits.train, splits.valid):
        check_length(shards, job.model_config.context_length)
        check_token_ids(shards, job.model_config.vocab_size)
    return splits


def build_run(job: TrainJob, plan: Plan, splits: Splits, processes: Processes) -> TrainingRun:
    """Build a run at step 0. The weights are drawn on the CPU, the same for every device."""
    model_config, train_config = job.model_config, job.train_config
    generator = torch.Generator().manual_seed(train_config.seed)
    model = TransformerLM(model_config, generator=generator).to(plan.device)
    loss = build_loss(model, plan, precision=train_config.precision, z_loss=train_config.z_loss)
    source = BatchSource(
        shards=splits.train,
        config=train_config,
        context_length=model_config.context_length,
        rank=processes.rank,
        world_size=processes.world_size,
        pin_memory=plan.device == "cuda",
    )
    return TrainingRun(
        model_config=model_config,
        train_config=train_config,
        plan=plan,
        processes=processes,
        valid_shards=splits.valid,
        loader=(
            DeviceLoader(source, torch.device(plan.device))
            if plan.tokens == "device"
            else BatchLoader(lambda index: read_batch(source, index))
        ),
        model=model,
        average=_copy_model(model, plan) if train_config.ema_decay else None,
        loss=compile_loss(loss, plan),
        optimizer=build_optimizer(model, train_config, fast=plan.fast),
        clock=Clock(60.0 * train_config.max_minutes),
        config_facts=config_facts(job, splits.train.num_tokens, splits.valid.num_tokens),
        ahead=(
            new_ahead(model.output_weight.device, log_interval=train_config.log_interval)
            if plan.decisions == "device"
            else None
        ),
    )


def _copy_model(model: TransformerLM, plan: Plan) -> TransformerLM:
    copy = TransformerLM(model.config, generator=torch.Generator()).to(plan.device)
    copy.load_state_dict(model.state_dict())
    use_plan(copy, plan)
    return copy.requires_grad_(False)


def snapshot(run: TrainingRun, *, metrics_text: str) -> Checkpoint:
    """Copy a run into a checkpoint; `metrics_text` is its log so far."""
    tensors, rests = take_tensors(run.model, [run.optimizer])
    if run.average is not None:
        weights = plain_state_dict(run.average.state_dict())
        tensors |= {f"average.{name}": copy_to_cpu(tensor) for name, tensor in weights.items()}
    run.state = run.clock.kept_in(run.state)
    facts = {
        "config": run.config_facts,
        "state": state_to_json(run.state),
        "plan": asdict(run.plan),
        "optimizers": rests,
        "metrics": metrics_text,
    }
    return Checkpoint(step=run.state.step, tensors=tensors, facts=facts)


def restore(run: TrainingRun, checkpoint: Checkpoint) -> None:
    """Put a run into the state that the checkpoint holds."""
    run.is_whole = False
    put_tensors(
        checkpoint.tensors,
        checkpoint.facts["optimizers"],
        model=run.model,
        optimizers=[run.optimizer],
    )
    if run.average is not None:
        load_weights(run.average, select_prefix(checkpoint.tensors, "average."))
    run.state = state_from_json(checkpoint.facts["state"])
    if run.ahead is not None:
        run.ahead.load(run.state)
    if run.graph is not None:
        run.graph.forget()
    run.is_whole = True
