"""Everything that only a GPU can show, in at most eight minutes: `make gpu`, or python benchmarks/gpu.py.

    python benchmarks/gpu.py [PART ...] [--out FILE] [--device cpu --tiny]

Each part is a process of its own with a limit of time, so that one which fails or hangs stops no other. The table at
the end is also written as JSON. Without a GPU nothing is measured; `--device cpu --tiny` plays the parts on the CPU.

tests       the tests that need CUDA
training    images a second against diffusers' loop: float32, TF32 and bfloat16, as written and compiled
sampling    images a second: as written, compiled, and replayed as CUDA graphs
memory      the counted peak of a step against the measured one
ranks       a run on 1, 2, ... devices: its loss is that of one
precisions  a run that goes on in another precision, and on the CPU
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from train import CASES, Case, clock, our_step, their_step

from mezzotint.data.inputs import NetworkInputs
from mezzotint.diffusion import DDIM, Denoiser, LinearSchedule, Objective, Trailing, sample
from mezzotint.runs import RunDir
from mezzotint.training import AdamW, Hardware
from mezzotint.training.micro_batch import MicroBatchProbe

ROOT = Path(__file__).parents[1]
TINY = Case((1, 8, 8), width=16, multipliers=(1, 2), blocks=1, attention=4, batch=4, steps=1)
Found = tuple[str, dict[str, Any]]  # a setting, and what was found with it by name
PRECISIONS = ("32", "tf32", "bf16")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    part: str
    setting: str
    found: dict[str, Any]
    seconds: float = 0.0

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {value:,.4g}" if isinstance(value, float) else f"{value}" for name, value in self.found.items()
        )


@dataclass(frozen=True)
class Plan:
    """Where and how long to measure.

    Args:
        device: "cuda", or "cpu" to try the script itself.
        case: the network of training and sampling.
        batch: images a step.
        repeats: steps of a measurement.
        devices: the most processes to start.
    """

    device: str
    case: Case
    batch: int
    repeats: int
    devices: int

    @classmethod
    def of(cls, device: str, tiny: bool) -> "Plan":
        count = torch.cuda.device_count() if device == "cuda" else 2
        return cls(device, TINY, TINY.batch, 1, count) if tiny else cls(device, CASES["small"], 256, 20, count)

    @property
    def hardware(self) -> str:
        return "gpu" if self.device == "cuda" else "cpu"


def tests(plan: Plan) -> Iterator[Found]:
    """The tests that need CUDA; without it they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-m", "cuda", "tests/devices"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    yield "pytest -m cuda", {"result": last_line(done.stdout) or last_line(done.stderr)}
    for line in done.stdout.splitlines():
        if line.startswith("FAILED"):
            yield "FAILED", {"test": line}


def training(plan: Plan) -> Iterator[Found]:
    """Images a second of both loops, which take turns."""
    case = Case(**asdict(plan.case) | {"batch": plan.batch})
    for compiled in (False, True) if plan.device == "cuda" else (False,):
        for precision in PRECISIONS if plan.device == "cuda" else ("32",):
            rates = []
            for make in (their_step, our_step):
                _, step = make(case, precision, plan.device, compiled)
                for _ in range(3 if plan.device == "cuda" else 1):  # warms up, and compiles
                    step()
                rates.append(case.batch * plan.repeats / clock(step, plan.repeats, plan.device, False))
            found = {"diffusers img/s": rates[0], "mezzotint img/s": rates[1], "ratio": rates[1] / rates[0]}
            yield f"{precision}{' compiled' if compiled else ''}", found


def sampling(plan: Plan) -> Iterator[Found]:
    """Images a second of DDIM; samples must not depend on how the network is called."""
    steps = 2 if plan.case is TINY else 50
    x = torch.randn(plan.batch, *plan.case.shape, generator=torch.Generator().manual_seed(0)).to(plan.device)
    expected = None
    for name, change in (("as written", None), ("compiled", compiled), ("CUDA graphs", graphed)):
        if change and plan.device == "cpu":
            continue
        torch.manual_seed(0)
        network = plan.case.ours().to(plan.device).eval().requires_grad_(False)
        Hardware(accelerator=plan.hardware).arrange(network)
        denoise = Denoiser(change(network, x) if change else network, LinearSchedule())

        def draw(denoise: Denoiser = denoise) -> torch.Tensor:
            return sample(denoise, DDIM(), Trailing(steps), x)

        drawn = draw()
        expected = drawn if expected is None else expected
        apart = float((drawn - expected).abs().max())
        rate = plan.batch / clock(draw, 1, plan.device, False)
        yield f"{name}, {steps} steps", {"img/s": rate, "difference": apart}


def compiled(network: torch.nn.Module, x: torch.Tensor) -> torch.nn.Module:
    network.compile(fullgraph=True)
    return network


def graphed(network: torch.nn.Module, x: torch.Tensor) -> torch.nn.Module:
    with torch.no_grad():
        return torch.cuda.make_graphed_callables(network, (x, torch.zeros(len(x), device=x.device)))


def memory(plan: Plan) -> Iterator[Found]:
    """The counted memory of a step against the allocator's peak."""
    for precision in ("32", "bf16-mixed") if plan.device == "cuda" else ("32",):
        hardware = Hardware(accelerator=plan.hardware, precision=precision)
        denoiser = Denoiser(plan.case.ours(), LinearSchedule())
        probe = MicroBatchProbe(denoiser, Objective(), AdamW(), hardware, NetworkInputs(plan.case.shape), None)
        counted = probe.memory(plan.batch)
        for _ in range(2):
            probe.step(plan.batch)
        if plan.device == "cpu":
            yield precision, {"counted MB": counted / 1e6}
            continue
        torch.cuda.reset_peak_memory_stats()
        probe.step(plan.batch)
        peak = torch.cuda.max_memory_allocated()
        yield precision, {"counted MB": counted / 1e6, "peak MB": peak / 1e6, "ratio": counted / peak}
        del probe


def ranks(plan: Plan) -> Iterator[Found]:
    """The loss of the same tiny run on more and more devices."""
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for count in sorted({1, 2, plan.devices}):
            if count > plan.devices:
                continue
            for strategy in ("ddp", "fsdp") if count > 1 else ("auto",):
                where = [f"hardware={plan.hardware}", f"hardware.devices={count}", f"hardware.strategy={strategy}"]
                loss = trained(folder, f"{strategy}-{count}", *where, "hardware.precision=32")
                first = loss if first is None else first
                yield f"{count} device(s), {strategy}", {"loss": loss, "difference": abs(loss - first)}


def precisions(plan: Plan) -> Iterator[Found]:
    """A run goes on in another precision, and on the CPU."""
    mixed = "bf16-mixed"
    for before, after in (("32", mixed), (mixed, "32")):
        with tempfile.TemporaryDirectory() as folder:
            trained(folder, "run", f"hardware={plan.hardware}", f"hardware.precision={before}")
            loss = gone_on(folder, f"hardware.precision={after}")
            yield f"{before}, then {after}", {"loss": loss}
            if before == "32":
                yield "then 32 on the CPU", {"loss": gone_on(folder, "hardware=cpu", budget=192)}


def trained(folder: str, name: str, *words: str) -> float:
    """Train for four steps without samples; return the last loss."""
    here = [f"name={name}", f"paths.runs={folder}", f"paths.cache={folder}/cache"]
    return told("train", "debug=tiny", "callbacks=minimal", *here, *words, run=Path(folder) / name)


def gone_on(folder: str, *words: str, budget: int = 128) -> float:
    """Go on with the run of a folder; return the last loss."""
    run = Path(folder) / "run"
    return told("train", f"run={run}", f"budget={budget}", *words, run=run)


def told(*command: str, run: Path) -> float:
    done = subprocess.run([sys.executable, "-m", "mezzotint", *command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
    return float([line["loss"] for line in RunDir(run).metrics() if "loss" in line][-1])


def last_line(text: str) -> str:
    return next(reversed([line for line in text.splitlines() if line.strip()]), "")


PARTS: dict[str, tuple[Callable[[Plan], Iterator[Found]], int]] = {  # with their limits in seconds
    "tests": (tests, 100),
    "training": (training, 120),
    "sampling": (sampling, 60),
    "memory": (memory, 30),
    "ranks": (ranks, 100),
    "precisions": (precisions, 70),
}


def played(name: str, options: argparse.Namespace) -> list[Row]:
    """The rows of a part, which runs in its own process; what it had found when its time was up counts."""
    command = [sys.executable, __file__, name, "--inside", "--device", options.device, *["--tiny"] * options.tiny]
    began, limit = time.monotonic(), PARTS[name][1] * options.patience
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command + ["--tiny"] * options.tiny, stdout=out, stderr=errors, start_new_session=True
        )
        try:
            code = process.wait(limit)
            failure = "" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            failure = f"stopped after {limit:.0f} s"
        out.seek(0)
        errors.seek(0)
        rows = [Row(**json.loads(line)) for line in out if line.startswith("{")]
        if failure:
            said = last_line(errors.read())
            rows.append(Row(name, "FAILED", {"why": failure, "said": said}, time.monotonic() - began))
    return rows


def inside(name: str, plan: Plan) -> None:
    """Play a part and print its rows as they are found."""
    began = time.monotonic()
    for setting, found in PARTS[name][0](plan):
        print(json.dumps(asdict(Row(name, setting, found, round(time.monotonic() - began, 1)))), flush=True)


def machine(device: str) -> dict[str, Any]:
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if device == "cuda" else ["CPU"]
    return {"devices": names, "torch": torch.__version__, "cuda": torch.version.cuda}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the smallest network and numbers of steps")
    parser.add_argument("--patience", type=float, default=1.0, help="factor on the limits, for a busy machine")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if wrong := set(options.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(wrong))}; choose from {', '.join(PARTS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here: nothing to measure. --device cpu --tiny tries this script on the CPU.")
        return
    if options.inside:
        inside(options.parts[0], Plan.of(options.device, options.tiny))
        return
    rows = []
    for name in options.parts or PARTS:
        print(f"{name} (at most {PARTS[name][1] * options.patience:.0f} s)", flush=True)
        rows += played(name, options)
    table = Table("part", "setting", "found", "s")
    for row in rows:
        table.add_row(row.part, row.setting, str(row), f"{row.seconds:.0f}")
    Console().print(table)
    content = machine(options.device) | {"rows": [asdict(row) for row in rows]}
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    if any(row.setting == "FAILED" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
