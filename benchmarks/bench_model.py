"""The training step against transformers' Llama of the same shape and against its GEMMs alone.

Each side runs in a process of its own, with its own best settings, and takes a few steps in turn,
so that all see the same load of the machine. Prints one JSON line with medians and ratios: by
wall clock, and by processor time, which on a busy machine is the steadier of the two.

    python -m benchmarks.bench_model --precision bf16
    python -m benchmarks.bench_model --precision fp32 --peer-settings defaults
    python -m benchmarks.bench_model --batch-size 32 --memory
"""

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.bars import Bar
from benchmarks.result_line import print_result
from lm.accounting.flops import training_flops_per_token
from lm.accounting.memory import training_memory
from lm.config import ModelConfig, RunOptions, TrainConfig
from lm.machine.backend import planned_backend
from lm.machine.precision import autocast
from lm.machine.probe import choose_plan, processor_vendor
from lm.model.transformer import TransformerLM
from lm.optim.clip import clip_gradients
from lm.optim.parameter_groups import build_optimizer
from lm.training.step.compiled import build_loss, compile_loss

MODEL = ModelConfig()  # the course's: V 10,000, T 256, d 512, 4 layers, 16 heads, d_ff 1,344
STEPS_A_TURN = 3
Step = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What one side is asked to run."""

    side: str
    precision: str
    batch_size: int
    num_threads: int
    peer_settings: str


def windows(settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs and targets of one batch."""
    generator = torch.Generator().manual_seed(0)
    shape = (settings.batch_size, MODEL.context_length + 1)
    ids = torch.randint(0, MODEL.vocab_size, shape, generator=generator)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def our_step(settings: Settings, stack: ExitStack) -> Step:
    """Return a training step of ours, with what the probe chooses for a long run."""
    config = TrainConfig(batch_size=settings.batch_size, precision=settings.precision)  # type: ignore[arg-type]  # from a choice
    options = RunOptions(compile="on", num_threads=settings.num_threads)
    plan = choose_plan(MODEL, config, options)
    stack.enter_context(planned_backend(plan))
    model = TransformerLM(MODEL, generator=torch.Generator().manual_seed(0))
    loss = compile_loss(build_loss(model, plan, precision=config.precision), plan)
    optimizer = build_optimizer(model, config)
    parameters = list(model.parameters())
    inputs, targets = windows(settings)

    def step() -> None:
        for part in range(0, settings.batch_size, plan.micro_batch_size):
            rows = slice(part, part + plan.micro_batch_size)
            torch.autograd.backward(loss(inputs[rows], targets[rows]).total)
        clip_gradients(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def peer_step(settings: Settings, _stack: ExitStack) -> Step:
    """Return a training step of transformers' Llama: compiled with fused AdamW, or as it comes."""
    import transformers

    is_tuned = settings.peer_settings == "best"
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=MODEL.vocab_size,
            hidden_size=MODEL.d_model,
            intermediate_size=MODEL.d_ff,
            num_hidden_layers=MODEL.num_layers,
            num_attention_heads=MODEL.num_heads,
            max_position_embeddings=MODEL.context_length,
        )
    )
    compute: Any = torch.compile(model) if is_tuned else model
    optimizer = torch.optim.AdamW(model.parameters(), fused=is_tuned or None)
    inputs, _ = windows(settings)

    def step() -> None:
        with autocast(torch.device("cpu"), settings.precision):  # type: ignore[arg-type]  # from a choice
            loss = compute(input_ids=inputs, labels=inputs, use_cache=False).loss
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def gemm_step(settings: Settings, stack: ExitStack) -> Step:
    """Return the matrix products of one step alone: forward, and both of backward."""
    config = TrainConfig(batch_size=settings.batch_size, precision=settings.precision)  # type: ignore[arg-type]  # from a choice
    stack.enter_context(planned_backend(choose_plan(MODEL, config, RunOptions())))
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    width, inner = MODEL.d_model, MODEL.d_ff
    layer = [(width, width)] * 4 + [(width, inner), (width, inner), (inner, width)]
    shapes = layer * MODEL.num_layers + [(width, MODEL.vocab_size)]
    rows = settings.batch_size * MODEL.context_length
    operands = {
        (d_in, d_out): [
            torch.randn(size, dtype=dtype) for size in ((rows, d_in), (d_out, d_in), (rows, d_out))
        ]
        for d_in, d_out in set(shapes)
    }

    def step() -> None:
        for shape in shapes:
            x, weight, gradient = operands[shape]
            x @ weight.T
            gradient @ weight
            gradient.T @ x

    return step


SIDES: dict[str, Callable[[Settings, ExitStack], Step]] = {
    "ours": our_step,
    "transformers": peer_step,
    "gemm": gemm_step,
}


def resident_bytes(field: str) -> int:
    """Return a field of /proc/self/status, such as VmRSS or VmHWM."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no field {field} in /proc/self/status; this benchmark needs Linux")


def serve(settings: Settings, stack: ExitStack) -> None:
    """Answer each number on standard input by the times of as many steps, and the peak memory."""
    torch.set_num_threads(settings.num_threads)
    torch.compile(lambda x: x + 1)(torch.zeros(1))  # so that the compiler is part of the idle
    if settings.side == "transformers":
        import transformers

        transformers.LlamaForCausalLM  # noqa: B018  # imported, so that it is part of the idle
    idle = resident_bytes("VmRSS")
    started = time.perf_counter()
    step = SIDES[settings.side](settings, stack)
    step()
    first_s = time.perf_counter() - started
    step()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # restarts VmHWM
    print(json.dumps({"first_step_s": first_s}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            wall, processor = time.perf_counter(), time.process_time()
            step()
            times.append((time.perf_counter() - wall, time.process_time() - processor))
        peak = resident_bytes("VmHWM") - idle
        print(json.dumps({"times": times, "peak_bytes": peak}), flush=True)


class Side:
    """One side's process."""

    def __init__(self, settings: Settings) -> None:
        arguments = [f"--serve={settings.side}", f"--precision={settings.precision}"]
        arguments += [f"--batch-size={settings.batch_size}", f"--threads={settings.num_threads}"]
        arguments += [f"--peer-settings={settings.peer_settings}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_model", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.walls: list[float] = []
        self.processors: list[float] = []
        self.peak_bytes = 0
        self.first_step_s = float(self._read()["first_step_s"])

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def take_turn(self) -> None:
        """Run a few steps and keep their times."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{STEPS_A_TURN}\n")
        self.process.stdin.flush()
        answer = self._read()
        self.walls += [wall for wall, _ in answer["times"]]
        self.processors += [processor for _, processor in answer["times"]]
        self.peak_bytes = int(answer["peak_bytes"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the sides in turns; return medians and ratios."""
    names = ["ours", "transformers"] + ([] if arguments.memory else ["gemm"])
    sides = {
        name: Side(
            Settings(
                name,
                arguments.precision,
                arguments.batch_size,
                arguments.threads,
                arguments.peer_settings,
            )
        )
        for name in names
    }
    for _ in range(arguments.turns):
        for side in sides.values():
            side.take_turn()
    for side in sides.values():
        side.close()
    return report(sides, arguments)


def report(sides: dict[str, Side], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the JSON of one comparison."""
    tokens = arguments.batch_size * MODEL.context_length
    walls = {name: statistics.median(side.walls) for name, side in sides.items()}
    processors = {name: statistics.median(side.processors) for name, side in sides.items()}
    config = TrainConfig(batch_size=arguments.batch_size, precision=arguments.precision)
    micro_batch_size = choose_plan(MODEL, config, RunOptions()).micro_batch_size
    predicted = training_memory(
        MODEL, micro_batch_size=micro_batch_size, precision=config.precision
    )
    result: dict[str, Any] = {
        "benchmark": "model",
        "precision": arguments.precision,
        "batch_size": arguments.batch_size,
        "micro_batch_size": micro_batch_size,
        "threads": arguments.threads,
        "peer_settings": arguments.peer_settings,
        "steps": len(sides["ours"].walls),
        "tokens_per_second": {name: round(tokens / wall) for name, wall in walls.items()},
        "first_step_s": {name: round(side.first_step_s, 1) for name, side in sides.items()},
        "peak_mib": {name: round(side.peak_bytes / 2**20) for name, side in sides.items()},
        "predicted_peak_mib": round(sum(predicted.values()) / 2**20),
        "speed_against_transformers": round(walls["transformers"] / walls["ours"], 3),
        "speed_against_transformers_by_processor_time": round(
            processors["transformers"] / processors["ours"], 3
        ),
        "memory_against_transformers": round(
            sides["ours"].peak_bytes / sides["transformers"].peak_bytes, 3
        ),
    }
    if "gemm" in sides:
        flops = tokens * training_flops_per_token(MODEL)
        result["share_of_gemm_limit"] = round(walls["gemm"] / walls["ours"], 3)
        result["share_of_gemm_limit_by_processor_time"] = round(
            processors["gemm"] / processors["ours"], 3
        )
        result["model_gflops"] = round(flops / walls["ours"] / 1e9)
    result["bars"] = [bar.to_json() for bar in bars_of(result)]
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return result | {"versions": versions, "machine": platform.machine()}


def bars_of(result: dict[str, Any]) -> list[Bar]:
    """Compare the figures with the bars."""
    name = f"training step, {result['precision']}, batch {result['batch_size']}"
    if "share_of_gemm_limit" not in result:
        memory = result["memory_against_transformers"]
        return [Bar(f"{name}: peak memory, ours / transformers", memory, 0.7)]
    what = f"{name}: tokens/s, ours / transformers' {result['peer_settings']}"
    speed = result["speed_against_transformers"]
    if result["precision"] == "fp32":
        least = 1.4 if "AMD" in processor_vendor() else 1.05
        return [Bar(what, speed, least, at_most=False)]
    share = result["share_of_gemm_limit"]
    return [
        Bar(what, speed, 1.1, at_most=False),
        Bar(f"{name}: share of the products alone", share, 0.52, at_most=False),
    ]


def parse_arguments() -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--peer-settings", choices=["best", "defaults"], default="best")
    parser.add_argument("--memory", action="store_true", help="leave out the GEMMs")
    parser.add_argument("--serve", choices=sorted(SIDES), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Compare the sides, or be one of them."""
    arguments = parse_arguments()
    if arguments.serve:
        settings = Settings(
            arguments.serve,
            arguments.precision,
            arguments.batch_size,
            arguments.threads,
            arguments.peer_settings,
        )
        with ExitStack() as stack:
            serve(settings, stack)
        return
    print_result(compare(arguments))


if __name__ == "__main__":
    main()
