"""Device, precision and ranks of a run. Lightning is imported only when a Trainer is built."""

import os
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import nn

from mezzotint.data.order import micro_batches
from mezzotint.errors import ConfigError, TrainingError
from mezzotint.finite import Finite
from mezzotint.instantiate.build import check_call
from mezzotint.plain_data import number

MOST = 1024  # processes or threads on one node
APPLE = ("auto", "fastest", "32", 32)  # values of `precision` that Apple's GPUs support, in float32


@dataclass(frozen=True)
class ProcessInfo:
    """Rank and number of processes, from the environment that torchrun, SLURM or `mezzotint train` set."""

    rank: int = 0
    world: int = 1
    local: int = 1  # processes on this node

    @staticmethod
    def here() -> "ProcessInfo":
        env = os.environ
        if "RANK" in env and "WORLD_SIZE" in env:
            world = int(env["WORLD_SIZE"])
            return ProcessInfo(int(env["RANK"]), world, int(env.get("LOCAL_WORLD_SIZE", world)))
        if int(env.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in env:  # a task of srun, not the batch script
            world = int(env["SLURM_NTASKS"])
            return ProcessInfo(int(env["SLURM_PROCID"]), world, world // int(env.get("SLURM_NNODES", 1)))
        return ProcessInfo()


@dataclass(frozen=True)
class Hardware(metaclass=Finite):
    """Device, precision and processes of a run. The numbers that come out do not depend on it but for rounding.

    Args:
        accelerator: gpu is NVIDIA's or AMD's, mps that of an Apple machine; auto takes either if there is one.
        devices: processes on each node; auto takes all GPUs of the node (one process on a CPU).
        nodes: of a cluster job.
        precision: auto is bf16-mixed on a GPU that has bfloat16, else 32; fastest is it also on a CPU that has it.
        strategy: how several processes share the work: ddp copies the network, fsdp cuts it into shards.
        micro_batch: images a process holds at once; left out, its whole share of the batch. Less memory, same gradient.
            "find" is for `mezzotint check`, which looks for the largest that fits.
        checkpointing: recompute the network's stages in the backward pass instead of keeping what they computed: much
            less memory, about a third more time, the same numbers.
        compile: compile the network; the first steps take a minute or two.
        channels_last: memory format of images; auto by device and precision.
        tf32: let GPUs multiply float32 matrices in TensorFloat-32.
        threads: CPU threads of each process; left out, torch's own choice.
        workers: processes that decode images; 0 is fastest for sets in memory, "auto" measures the first steps.
        timeout: seconds after which a silent rank is given up.
        profiler: of Lightning's, which writes a report to profile/ of the run: simple (durations of hooks), advanced
            (of functions) or pytorch (a trace of torch).
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: int | Literal["auto"] = 1
    nodes: int = 1
    precision: Literal["auto", "fastest", "32", "bf16-mixed", "16-mixed", 32] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    micro_batch: int | Literal["find"] | None = None
    checkpointing: bool = False
    compile: bool = False
    channels_last: bool | Literal["auto"] = "auto"
    tf32: bool = True
    threads: int | None = None
    workers: int | Literal["auto"] = 0
    timeout: float = 600.0
    profiler: Literal["simple", "advanced", "pytorch"] | None = None

    def __post_init__(self) -> None:
        if problems := check_call(type(self), {setting.name: getattr(self, setting.name) for setting in fields(self)}):
            raise ConfigError("; ".join(problems))
        for name in ("devices", "nodes", "micro_batch", "threads", "timeout"):
            value = number(getattr(self, name))
            if value is not None and value <= 0:
                raise ConfigError(f"{name}={value} must be at least 1")
        if self.strategy == "fsdp" and self.precision == "16-mixed":
            raise ConfigError("precision=16-mixed and strategy=fsdp do not go together; use precision=bf16-mixed")
        for name in ("devices", "workers", "threads"):
            count = number(getattr(self, name))
            if count is not None and count > MOST:
                raise ConfigError(f"{name}={count}: no machine has room for so many; give at most {MOST}")
        if self.workers != "auto" and self.workers < 0:
            raise ConfigError(f"workers={self.workers}: give 0 or more processes")
        if self.accelerator == "mps":
            self.check_apple()

    def check_apple(self) -> None:
        """Refuse settings that Apple's GPUs do not support. Raises ConfigError."""
        if self.devices not in (1, "auto") or self.nodes != 1 or self.strategy != "auto":
            raise ConfigError(
                f"devices={self.devices}, nodes={self.nodes}, strategy={self.strategy}: an Apple machine has one GPU, "
                "and torch has no communication between such. Leave them out, or use accelerator=cpu"
            )
        if self.precision not in APPLE:
            raise ConfigError(f"precision={self.precision}: on Apple's GPUs leave it out, it is 32 there")

    @property
    def device(self) -> str:
        """ "cuda", "mps" or "cpu", by the accelerator and this machine."""
        nvidia, apple = torch.cuda.is_available(), torch.backends.mps.is_available()
        if self.accelerator == "gpu" and not nvidia:
            raise ConfigError(
                "hardware.accelerator=gpu, and torch sees no GPU here. Use hardware=cpu, or install a torch that was "
                f"built for this machine's driver.{' The GPU of an Apple machine is hardware=mps.' if apple else ''}"
            )
        if self.accelerator == "mps" and not apple:
            raise ConfigError(
                "hardware.accelerator=mps is the GPU of an Apple machine, and torch sees none here. Use hardware=auto."
            )
        if self.accelerator in ("auto", "gpu") and nvidia:
            return "cuda"
        return "mps" if self.accelerator in ("auto", "mps") and apple and self.alone else "cpu"

    @property
    def alone(self) -> bool:
        """True for one process in float32, as GPUs of Apple require."""
        return self.devices in (1, "auto") and self.nodes == 1 and self.precision in APPLE

    @property
    def local(self) -> int:
        """Processes to start on this node."""
        there = torch.cuda.device_count() if self.device == "cuda" else None
        if self.devices == "auto":
            return there or 1
        if there is not None and self.devices > there:
            raise ConfigError(f"hardware.devices={self.devices}, and this node has {there} GPU(s).")
        return self.devices

    @property
    def processes(self) -> int:
        """Processes on all nodes."""
        return self.local * self.nodes

    @property
    def exact_precision(self) -> str:
        """The precision as Lightning calls it, with auto decided."""
        if self.precision not in ("auto", "fastest"):
            return {"32": "32-true"}.get(str(self.precision), str(self.precision))
        from mezzotint.networks import bfloat16_is_fast

        considered = self.device == "cuda" or self.precision == "fastest"
        return "bf16-mixed" if considered and bfloat16_is_fast(self.device) else "32-true"

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the network computes."""
        return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(self.exact_precision, torch.float32)

    def place(self) -> ProcessInfo:
        """Return rank and number of processes. Raises ConfigError: the settings ask for another number."""
        place, asked = ProcessInfo.here(), self.processes
        if place.world != asked and not (self.devices == "auto" and self.nodes == 1):
            raise ConfigError(
                f"hardware asks for {self.local} device(s) on {self.nodes} node(s), {asked} process(es) in all, but "
                f"{place.world} run. Start them with `mezzotint train`, torchrun or srun, or change hardware.devices."
            )
        return place

    def accumulation(self, batch_size: int, world: int) -> int:
        """Micro-batches a step; refuses a batch that cannot be shared out, naming the nearest that can."""
        return micro_batches(batch_size, world, None if self.micro_batch == "find" else self.micro_batch)[1]

    def recompute(self, network: nn.Module) -> None:
        """Switch on recomputation in the network's stages, if `checkpointing` is set.

        Raises:
            ConfigError: it has none that could: no part of it has a switch `checkpointing`.
        """
        if not self.checkpointing:
            return
        stages = switches(network)
        if not stages:
            raise ConfigError(
                f"checkpointing=true, and {type(network).__name__} has no stages that can be recomputed. Leave it out; "
                "micro_batch= saves memory with every network."
            )
        for stage in stages:
            stage.checkpointing = True

    def prepare(self, network: nn.Module) -> None:
        """For training: `arrange`, `recompute`, and compile in place, so that the keys of checkpoints stay."""
        self.arrange(network)
        self.recompute(network)
        if self.compile:
            network.compile()

    def arrange(self, network: nn.Module) -> None:
        """Threads, matrix precision, memory format: so that a network answers alike in training and in sampling."""
        from mezzotint.networks import keep_freed_memory

        if self.device == "cpu":
            keep_freed_memory()
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.device == "cuda":
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32
        network.to(memory_format=self.memory_format(network))

    def memory_format(self, network: nn.Module) -> torch.memory_format:
        """Return the layout of a network's kernels on this device."""
        from mezzotint.networks import preferred_memory_format

        if self.strategy == "fsdp" or any(p.ndim > 4 for p in network.parameters()):
            return torch.contiguous_format  # FSDP splits no other weights, and channels_last is not for volumes
        if self.channels_last != "auto":
            return torch.channels_last if self.channels_last else torch.contiguous_format
        return preferred_memory_format(self.device, self.dtype)

    @property
    def graphs(self) -> bool:
        """True if sampling replays the calls of a network as CUDA graphs."""
        return self.device == "cuda"

    @property
    def fused(self) -> bool:
        """True if the optimizer updates all parameters in one kernel, which scaled gradients do not allow."""
        return self.exact_precision != "16-mixed"

    def choices(self, network: nn.Module, training: bool = True) -> str:
        """Return the settings that follow from the device, in one line.

        Args:
            training: of training, or of sampling, which is in float32.
        """
        chosen = {
            self.exact_precision if training else "32-true": True,
            "TF32": self.device == "cuda" and self.tf32,
            "channels last": self.memory_format(network) is torch.channels_last,
            "fused optimizer": training and self.fused,
            "compiled": training and self.compile,
            "CUDA graphs": not training and self.graphs,
            f"workers={self.workers}": training and self.workers != 0,
        }
        return f"{self.device}: {', '.join(name for name, holds in chosen.items() if holds)}"

    def trainer_arguments(self, place: ProcessInfo) -> dict[str, Any]:
        """Return the arguments for Lightning's Trainer."""
        arguments: dict[str, Any] = {
            "accelerator": {"cuda": "gpu"}.get(self.device, self.device),
            "devices": place.local if place.world > 1 else 1,
            "num_nodes": place.world // place.local,
            "precision": self.exact_precision,
        }
        if place.world == 1:
            return arguments
        return arguments | {"strategy": self.parallel(place), "plugins": [cluster_environment()]}

    def parallel(self, place: ProcessInfo) -> Any:
        from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

        backend = "nccl" if self.device == "cuda" else "gloo"
        common = {"process_group_backend": backend, "timeout": timedelta(seconds=self.timeout)}
        if self.strategy == "fsdp":
            return ModelParallelStrategy(place.world, 1, save_distributed_checkpoint=False, **common)
        return DDPStrategy(gradient_as_bucket_view=True, **common)


def switches(network: nn.Module) -> list[Any]:
    """The parts of a network that can be recomputed in the backward pass: those with a switch `checkpointing`."""
    return [part for part in network.modules() if isinstance(getattr(part, "checkpointing", None), bool)]


def cluster_environment() -> Any:
    """Return Lightning's description of the cluster. The run itself requeues under SLURM."""
    from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    return TorchElasticEnvironment() if "RANK" in os.environ else SLURMEnvironment(auto_requeue=False)


def is_full(error: BaseException) -> bool:
    """Return whether an error means that a device is out of memory; torch has no class for a CPU's."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(hardware: Hardware, micro_batch: int) -> TrainingError:
    """Return the error for a step of `micro_batch` images that does not fit, with settings to lower."""
    cures = []
    if micro_batch > 1:
        cures.append(f"hardware.micro_batch={micro_batch // 2} (the same gradients, in more parts)")
    if not hardware.checkpointing:
        cures.append("hardware.checkpointing=true (about a third slower)")
    if hardware.device == "cuda" and hardware.dtype == torch.float32:
        cures.append("hardware.precision=bf16-mixed")
    cures = cures or ["a smaller network"]
    where = "the GPU" if hardware.device == "cuda" else "this machine"
    return TrainingError(
        f"{where} has no memory left for {micro_batch} images at once. Lower it by {' or '.join(cures)}; "
        "`mezzotint check hardware.micro_batch=find`, with the other words of this command, finds the largest that fits"
    )
