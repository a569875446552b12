"""`mezzotint encode data=NAME codec=autoencoder out=DIR`: the latents of a dataset, computed once."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mezzotint.app.assembly.parts import placed
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import settle
from mezzotint.app.launch import ranks
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.terminal import display_path
from mezzotint.atomic import remove_partials
from mezzotint.data import LatentCodec
from mezzotint.data.dataset import Dataset, codec_of
from mezzotint.data.latents import encoding, manifest
from mezzotint.data.latents.manifest import FILE, Manifest
from mezzotint.data.sources.latents import Latents
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build
from mezzotint.progress import bar
from mezzotint.training.hardware.hardware import ProcessInfo
from mezzotint.training.hardware.memory import size

UNUSED = (
    "network",
    "schedule",
    "target",
    "c_noise",
    "c_in",
    "objective",
    "time_distribution",
    "loss_weight",
    "loss",
    "optimizer",
    "lr_schedule",
    "ema",
    "sampler",
    "grid",
    "guidance",
    "metrics",
    "extractor",
    "callbacks",
    "logger",
)


def main(config: Any) -> None:
    """Encode what is not encoded yet, then write what belongs to all of it.

    Raises:
        ConfigError, DataError: the data and the autoencoder do not fit, or the folder holds something else.
    """
    job = settle(config, without=UNUSED)
    if job.run is not None:
        raise ConfigError("encode works on data, not on a run: give data= and codec=, or an experiment= that has both")
    folder = place(job)
    dataset, codec = prepared(job)
    plan = encoding.planned(dataset, codec, job.data, job.codec or {})
    hardware = build(job.hardware, "hardware")
    ranks.check(hardware)
    known = begun(folder, plan)
    if known is not None and known.complete and all(encoding.intact(folder, plan, shard) for shard in plan.all_shards):
        print(f"{display_path(folder)} is complete; nothing to do")
        return
    if not ranks.rank():
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
        plan.write(folder)
    if ranks.joined() or hardware.processes == 1:
        encode(folder, job, dataset, codec, plan)
    else:
        ranks.start(work, folder, hardware.processes, job, plan=asdict(plan))
    if not ranks.rank():
        wait(folder, plan)
        done = encoding.finished(folder, plan, dataset)
        print(conclusion(folder, done))


def place(job: Job) -> Path:
    """Return the folder that out= names. Raises ConfigError."""
    if in_sweep():
        raise ConfigError("-m is for runs: encode one dataset after the other, each into its own out=DIR")
    if job.out is None:
        raise ConfigError("out=: give the folder for the latents, such as out=latents")
    folder = Path(job.out).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"out={job.out} is a file: give a folder")
    return folder


def prepared(job: Job) -> tuple[Dataset, LatentCodec]:
    """Build dataset and codec, and read the autoencoder. Raises ConfigError."""
    dataset = build(job.data_node(), "data")
    codec = codec_of(dataset)
    if not isinstance(codec, LatentCodec):
        raise ConfigError(
            "encode writes the latents of an autoencoder: choose one, codec=autoencoder codec.directory=DIR"
        )
    if varies := dataset.varies():
        raise ConfigError(
            f"data.{varies} draws another part of an image at every visit, and latents are computed once: encode with "
            "data.crop=adm, or train with codec=autoencoder on the images, which encodes at every visit"
        )
    if isinstance(dataset, Latents):
        raise ConfigError("data=latents already holds latents: give the images as data=, and another out=")
    return dataset, codec


def begun(folder: Path, plan: Manifest) -> Manifest | None:
    """Return the manifest of a folder that holds latents of this plan; None of a new or empty folder.

    Raises:
        ConfigError: it holds something else.
    """
    if not (folder / FILE).exists():
        if folder.is_dir() and any(not item.name.startswith(".") for item in folder.iterdir()):
            raise ConfigError(f"out={display_path(folder)} holds something other than latents: choose another folder")
        return None
    known = manifest.read(folder)
    if other := known.differences(plan):
        raise ConfigError(
            f"out={display_path(folder)} holds latents that differ from these in {', '.join(other)}: choose another "
            "folder, or delete that one"
        )
    return known


def work(folder: Path, job: Job, plan: dict[str, Any]) -> dict[str, Any]:
    """Encode the share of one of the processes that `main` started."""
    encode(folder, job, *prepared(job), Manifest(**plan))
    return {}


def encode(folder: Path, job: Job, dataset: Dataset, codec: LatentCodec, plan: Manifest) -> None:
    """Encode the share of this process."""
    here, hardware = ProcessInfo.here(), build(job.hardware, "hardware")
    device = f"cuda:{here.rank % here.local}" if hardware.device == "cuda" else hardware.device
    mine = sum(map(len, plan.all_shards[here.rank :: here.world]))
    title = "encoding" if here.world == 1 else f"encoding, process 1 of {here.world}"
    if here.rank:
        with placed("data"):
            encoding.encode_shards(folder, plan, dataset, codec, device, here.rank, here.world)
        return
    with placed("data"), bar(title, mine) as advance:
        encoding.encode_shards(folder, plan, dataset, codec, device, here.rank, here.world, advance)


def wait(folder: Path, plan: Manifest) -> None:
    """Wait for the processes of a cluster job: each writes its shards."""
    while missing := [shard for shard in plan.all_shards if not encoding.intact(folder, plan, shard)]:
        if not ranks.joined():
            raise DataError(f"{display_path(folder)} lacks {missing[0].name}: another process is deleting its files")
        time.sleep(1.0)


def conclusion(folder: Path, done: Manifest) -> str:
    counts = " and ".join(f"{done.counts[split]:,} {split}" for split in manifest.SPLITS)
    stored = sum((folder / shard.name).stat().st_size for shard in done.all_shards)
    shape = " x ".join(map(str, done.latents))
    return (
        f"{display_path(folder)}: latents {shape} of {counts} images and their mirror images, {size(stored)}; train on "
        f"them by data=latents data.root={display_path(folder)}"
    )
