"""Configuration of the language model: shape, training, evaluation, generation, how to run.

Everything but `RunOptions` determines what comes out and is fingerprinted by the pipeline;
`RunOptions` only says how the same work is done. Imports nothing heavy, so that the command
line starts at once.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

NormPlacement = Literal["pre", "post", "none"]
PositionEncoding = Literal["rope", "none"]
FeedForwardKind = Literal["swiglu", "silu", "relu2"]
OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["cosine", "wsd", "linear", "constant", "growing"]
Precision = Literal["fp32", "bf16", "tf32"]
Sampling = Literal["without_replacement", "with_replacement"]
Device = Literal["auto", "cpu", "cuda", "mps"]
CompileSwitch = Literal["auto", "on", "off"]
AttentionBackend = Literal["auto", "math", "sdpa"]
Decisions = Literal["auto", "host", "device"]
TokenPlace = Literal["auto", "mapped", "device"]
Products = Literal["auto", "separate", "joined"]
GraphSwitch = Literal["auto", "on", "off"]


MAX_SEED = 2**63 - 1
MAX_SIZE = 2**18
"""Bound of every length of a model: above those of all that were built, below what takes minutes
to be refused for want of memory."""


def _check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} ({value!r}) must be one of {', '.join(sorted(allowed))}")


def _check_at_least(name: str, value: float, minimum: float) -> None:
    if not (math.isfinite(value) and value >= minimum):
        raise ValueError(f"{name} ({value}) must be a finite number of at least {minimum}")


def _check_at_most(name: str, value: int, maximum: int, why: str) -> None:
    if value > maximum:
        raise ValueError(f"{name} ({value}) must be at most {maximum}: {why}")


def _check_seed(value: int) -> None:
    _check_at_most("seed", value, MAX_SEED, "generators of random numbers take 63 bits")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} ({value}) must be a finite number above 0")


def _check_share(name: str, value: float, *, below_one: bool) -> None:
    if not (0.0 <= value < 1.0 if below_one else 0.0 <= value <= 1.0):
        bound = "below 1" if below_one else "at most 1"
        raise ValueError(f"{name} ({value}) must be at least 0 and {bound}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Shape of a `TransformerLM`. The defaults are the course's TinyStories model (CS336 A1)."""

    vocab_size: int = 10_000
    """Token ids that the model knows, specials included. Default: CS336 A1, section 7."""
    context_length: int = 256
    """Tokens the model can look at. Default: CS336 A1, section 7."""
    d_model: int = 512
    """Width of the residual stream. Default: CS336 A1, section 7."""
    num_layers: int = 4
    """Transformer blocks. Default: CS336 A1, section 7."""
    num_heads: int = 16
    """Query heads a block. Default: CS336 A1, section 7."""
    num_kv_heads: int = 0
    """Key and value heads a block (grouped-query attention); 0: as many as `num_heads`."""
    d_ff: int = 1344
    """Inner width of SwiGLU, about 8/3 `d_model`, a multiple of 64. Feed-forwards with two
    matrices are 3/2 as wide, which gives the same number of parameters. Default: CS336 A1."""
    rope_theta: float = 10_000.0
    """Base of the rotation angles. Default: Su et al. 2021 (RoFormer), section 3.3."""
    norm: NormPlacement = "pre"
    """Where RMSNorm is: before each sub-layer, after each residual sum, or nowhere."""
    position: PositionEncoding = "rope"
    """Position information: rotary, or none (the causal mask alone)."""
    ffn: FeedForwardKind = "swiglu"
    """Feed-forward: SwiGLU (Shazeer 2020), SiLU, or squared ReLU (So et al. 2021)."""
    norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm. Default: CS336 A1, section 3.5."""
    qk_norm: bool = False
    """RMS-normalise queries and keys per head (Dehghani et al. 2023)."""
    tie_embeddings: bool = False
    """Use the token embeddings as output projection too; their initial deviation is then
    d_model ** -0.5 instead of 1, so that the logits start at unit scale."""
    logit_softcap: float = 0.0
    """Bound of the logits, cap * tanh(logits / cap) (Gemma 2, section 2); 0: off."""
    zero_init_output: bool = False
    """Start the last projection of each sub-layer at zero, so that a block starts as identity."""
    value_residual: bool = False
    """Mix the first block's values into those of the later ones (Zhou et al. 2024)."""

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        for name in ("vocab_size", "context_length", "d_model", "num_layers", "num_heads", "d_ff"):
            _check_at_least(name, getattr(self, name), 1)
            _check_at_most(name, getattr(self, name), MAX_SIZE, "no machine holds such a model")
        _check_at_least("num_kv_heads", self.num_kv_heads, 0)
        _check_positive("rope_theta", self.rope_theta)
        _check_positive("norm_eps", self.norm_eps)
        _check_at_least("logit_softcap", self.logit_softcap, 0.0)
        _check_choice("norm", self.norm, ("pre", "post", "none"))
        _check_choice("position", self.position, ("rope", "none"))
        _check_choice("ffn", self.ffn, ("swiglu", "silu", "relu2"))
        self._check_heads()
        if self.ffn != "swiglu" and self.d_ff % 2:
            raise ValueError(
                f"d_ff ({self.d_ff}) must be even with ffn={self.ffn!r}, which is 3/2 as wide; "
                f"take {self.d_ff + 1}"
            )

    def _check_heads(self) -> None:
        if self.d_model % self.num_heads:
            divisors = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            nearest = min(divisors, key=lambda n: abs(n - self.num_heads))
            raise ValueError(
                f"d_model ({self.d_model}) must be a multiple of num_heads ({self.num_heads}); "
                f"num_heads={nearest} would do"
            )
        if self.position == "rope" and self.d_head % 2:
            raise ValueError(
                f"d_head = d_model / num_heads ({self.d_head}) must be even with position='rope', "
                "which rotates pairs; change num_heads or set position='none'"
            )
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_heads ({self.num_heads}) must be a multiple of num_kv_heads "
                f"({self.num_kv_heads}); set num_kv_heads=0 for one per query head"
            )

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Key and value heads, with the default of `num_kv_heads` resolved."""
        return self.num_kv_heads or self.num_heads

    @property
    def d_ff_inner(self) -> int:
        """Inner width of the feed-forward in use; parameter-matched for two-matrix kinds."""
        return self.d_ff if self.ffn == "swiglu" else 3 * self.d_ff // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """What one training run does, apart from the model's shape and the data."""

    seed: int = 0
    """Determines the initial weights and the order of the data."""
    batch_size: int = 32
    """Sequences a step, over all processes and micro-batches. Default: CS336 A1, section 7."""
    max_steps: int = 1000
    """Optimizer steps; with `max_minutes` the run ends at whichever comes first."""
    max_minutes: float = 0.0
    """Wall-clock budget of the training: compiling, sampled validations and saving are in it. The
    schedule follows the clock or the steps, whichever is nearer its end. 0: no clock."""
    optimizer: OptimizerName = "adamw"
    """AdamW for everything, or Muon for the blocks' matrices and AdamW for the rest."""
    max_learning_rate: float = 3e-3
    """Peak rate of AdamW. Default: measured by public runs of the course's model."""
    min_learning_rate: float = 3e-4
    """Rate at the end of a decaying schedule. Default: a tenth (Hoffmann et al. 2022)."""
    warmup_steps: int = 100
    """Steps of linear growth from 0 to the peak."""
    schedule: ScheduleName = "cosine"
    """Shape after warm-up: cosine, warm-up-stable-decay, linear or constant; or growing from the
    minimum to the peak by equal factors, for a test of the range of rates (Smith 2017)."""
    wsd_decay_share: float = 0.2
    """Last share of the run in which `wsd` decays. Default: Hu et al. 2024 and Hagele et al.
    2024 find 0.1 to 0.2 enough."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's two moments. Default: Brown et al. 2020 (GPT-3), appendix B."""
    eps: float = 1e-8
    """Added to the root of AdamW's second moment. Default: Kingma and Ba 2015."""
    weight_decay: float = 0.1
    """Decoupled decay of the matrices (not of gains), times the rate. Default: GPT-3."""
    max_l2_norm: float = 1.0
    """Global gradient norm above which gradients are scaled down; 0: no clipping."""
    muon_learning_rate: float = 0.02
    """Peak rate of Muon, scaled as in `lm/optim/muon.py`. Default: Jordan et al. 2024."""
    muon_momentum: float = 0.95
    """Nesterov momentum of Muon. Default: Jordan et al. 2024."""
    z_loss: float = 0.0
    """Weight of the squared log-partition (PaLM, section 5); 0: off."""
    ema_decay: float = 0.0
    """Decay a step of the averaged weights that are evaluated and published; 0: off."""
    precision: Precision = "fp32"
    """Number format of matrix products: fp32, TF32, or bf16 autocast over fp32 weights."""
    sampling: Sampling = "without_replacement"
    """Order of the data: a keyed permutation of windows, or the course's random windows."""
    log_interval: int = 10
    """Steps between metrics."""
    valid_interval: int = 200
    """Steps between sampled validations; 0: at the end only."""
    valid_batches: int = 20
    """Batches of one sampled validation."""
    spike_sigma: float = 6.0
    """A step whose loss or gradient norm is further than this above the mean of the last 128,
    in standard deviations, is skipped; 0: only non-finite ones are."""
    max_spikes: int = 8
    """Skipped steps in a row after which training returns to the last good checkpoint."""

    def __post_init__(self) -> None:
        """Refuse values that no run can use."""
        for name in ("batch_size", "max_steps", "log_interval", "valid_batches", "max_spikes"):
            _check_at_least(name, getattr(self, name), 1)
        _check_seed(self.seed)
        for name in ("max_learning_rate", "muon_learning_rate", "eps"):
            _check_positive(name, getattr(self, name))
        non_negative = (
            "seed",
            "max_minutes",
            "warmup_steps",
            "min_learning_rate",
            "weight_decay",
            "max_l2_norm",
            "z_loss",
            "valid_interval",
            "spike_sigma",
        )
        for name in non_negative:
            _check_at_least(name, getattr(self, name), 0)
        for beta in self.betas:
            _check_share("betas", beta, below_one=True)
        _check_share("muon_momentum", self.muon_momentum, below_one=True)
        _check_share("ema_decay", self.ema_decay, below_one=True)
        _check_share("wsd_decay_share", self.wsd_decay_share, below_one=False)
        _check_choice("optimizer", self.optimizer, ("adamw", "muon"))
        schedules = ("cosine", "wsd", "linear", "constant", "growing")
        _check_choice("schedule", self.schedule, schedules)
        if self.schedule == "growing" and self.min_learning_rate == 0:
            raise ValueError("min_learning_rate (0) must be above 0 with schedule='growing'")
        _check_choice("precision", self.precision, ("fp32", "bf16", "tf32"))
        _check_choice("sampling", self.sampling, ("without_replacement", "with_replacement"))
        if self.min_learning_rate > self.max_learning_rate:
            raise ValueError(
                f"min_learning_rate ({self.min_learning_rate}) must be at most "
                f"max_learning_rate ({self.max_learning_rate})"
            )
        if not self.max_minutes and self.warmup_steps > self.max_steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be at most max_steps ({self.max_steps})"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """How the full validation set is evaluated."""

    context_length: int = 0
    """Tokens a window; 0: the model's."""
    batch_size: int = 32
    """Windows a batch; fingerprinted, because it sets the order of summation."""
    precision: Precision = "fp32"
    """Number format of matrix products."""

    def __post_init__(self) -> None:
        """Refuse values that no evaluation can use."""
        _check_at_least("context_length", self.context_length, 0)
        _check_at_least("batch_size", self.batch_size, 1)
        _check_choice("precision", self.precision, ("fp32", "bf16", "tf32"))


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    """Which samples are drawn, and how."""

    prompts: tuple[str, ...] = ("Once upon a time",)
    """Texts that the model continues. Default: how most of TinyStories begins."""
    max_new_tokens: int = 256
    """Tokens after the prompt; generation stops earlier at a stop token."""
    temperature: float = 0.8
    """Divides the logits; 0: always the most likely token."""
    top_p: float = 0.95
    """Probability mass of the nucleus (Holtzman et al. 2020); 1: off."""
    top_k: int = 0
    """Most likely tokens that are kept; 0: off."""
    seed: int = 0
    """Determines the draws."""
    num_samples: int = 1
    """Samples a prompt."""

    def __post_init__(self) -> None:
        """Refuse values that no sampler can use."""
        _check_at_least("max_new_tokens", self.max_new_tokens, 1)
        _check_at_least("temperature", self.temperature, 0.0)
        _check_at_least("top_k", self.top_k, 0)
        _check_at_least("seed", self.seed, 0)
        _check_seed(self.seed)
        _check_at_least("num_samples", self.num_samples, 1)
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p ({self.top_p}) must be above 0 and at most 1 (1: off)")
        if not self.prompts:
            raise ValueError('prompts () must hold at least one text; take ("",) for none')


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How the work is done on this machine; never fingerprinted."""

    device: Device = "auto"
    """Where tensors live; auto: CUDA, then MPS, then CPU."""
    compile: CompileSwitch = "auto"
    """`torch.compile`; auto: where a compiler is found and the run is long enough."""
    attention: AttentionBackend = "auto"
    """Attention of the fast path; auto: PyTorch's fused kernels where they are faster."""
    micro_batch_size: int = 0
    """Sequences a forward pass; 0: as many of the batch as fit in memory."""
    num_processes: int = 1
    """Processes that share a step (DistributedDataParallel)."""
    launcher: str = ""
    """Command that starts them on several machines with one file system, such as `srun torchrun
    --nnodes=2 --nproc-per-node=8 ...`; "": torchrun on this machine."""
    checkpoint_steps: int = 0
    """Steps between checkpoints; 0: by the clock only."""
    checkpoint_minutes: float = 1.0
    """Minutes between checkpoints; 0: by steps only."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept; an older one is the fallback for a damaged newer one."""
    num_threads: int = 0
    """Threads of torch's CPU operators; 0: torch's default."""
    fast: bool = True
    """The fast path; False: the faithful modules as they are written."""
    loss_chunk: int = 0
    """Positions whose logits are held at once; 0: by device and free memory."""
    decisions: Decisions = "auto"
    """Who tests a step for spikes, clips and skips: the host or the device; auto: a CUDA device
    itself, so that the host waits for no step."""
    tokens: TokenPlace = "auto"
    """Where batches are cut: from the mapped files, or on the device; auto: on a CUDA device in
    whose memory the training tokens fit."""
    products: Products = "auto"
    """Products that share their input (q, k, v; w1, w3): one each, or joined; auto: joined in
    compiled code on a CUDA device."""
    deterministic: bool = False
    """On a GPU: the same bytes from equal runs, slower. A CPU always gives them."""
    graphs: GraphSwitch = "auto"
    """CUDA graphs, which launch a whole step at once; auto: for small steps and generation."""

    def __post_init__(self) -> None:
        """Refuse values that no run can use."""
        _check_choice("device", self.device, ("auto", "cpu", "cuda", "mps"))
        _check_choice("compile", self.compile, ("auto", "on", "off"))
        _check_choice("attention", self.attention, ("auto", "math", "sdpa"))
        _check_choice("decisions", self.decisions, ("auto", "host", "device"))
        _check_choice("tokens", self.tokens, ("auto", "mapped", "device"))
        _check_choice("products", self.products, ("auto", "separate", "joined"))
        _check_choice("graphs", self.graphs, ("auto", "on", "off"))
        non_negative = (
            "micro_batch_size",
            "checkpoint_steps",
            "checkpoint_minutes",
            "num_threads",
            "loss_chunk",
        )
        for name in non_negative:
            _check_at_least(name, getattr(self, name), 0)
        if self.launcher and self.num_processes == 1:
            raise ValueError(
                f"launcher ({self.launcher}) needs num_processes, the number of processes that it "
                "starts on all machines together"
            )
        for name in ("num_processes", "keep_checkpoints"):
            _check_at_least(name, getattr(self, name), 1)
