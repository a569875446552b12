"""One of several processes that judge the same images together; prints the values as JSON, twice.

    python two_processes.py RANK WORLD STORE CACHE

The first time all compute the reference, the second time it is read from the cache.
"""

import json
import sys
from typing import ClassVar

import torch
import torch.distributed as dist

from mezzotint.data import Digits
from mezzotint.metrics import (
    PSNR,
    DensityCoverage,
    DigitsClassifier,
    EvaluatedModel,
    Evaluation,
    FrechetBootstrap,
    FrechetDistance,
    FrechetInfinity,
    FrechetPerClass,
    FrechetRatio,
    InceptionScore,
    JointExtractor,
    KernelDistance,
    MiFID,
    PrecisionRecall,
    RawFeatures,
    Retrieval,
    evaluate,
)

METRICS = (
    DensityCoverage,
    FrechetDistance,
    FrechetBootstrap,
    FrechetInfinity,
    InceptionScore,
    KernelDistance,
    MiFID,
    PrecisionRecall,
)


class Pairs:
    """The digits themselves, as the true examples of their mirror images."""

    kinds: ClassVar[dict] = {}

    def __len__(self) -> int:
        return 1797

    def truth(self, index: torch.Tensor) -> torch.Tensor:
        return Digits().split("all").batch(index % 1797)[0]


def judge(share: slice, cache: str | None = None) -> Evaluation:
    """The first 700 digits, mirrored, against the train part; this process holds a share of them."""
    numbers = torch.arange(700)[share]
    images, labels = Digits().split("all").batch(numbers)
    metrics = {metric.__name__: metric(DigitsClassifier()) for metric in METRICS}
    metrics |= {"PSNR": PSNR(), "Retrieval": Retrieval(DigitsClassifier())}
    metrics["FrechetRatio"] = FrechetRatio(JointExtractor([DigitsClassifier(), RawFeatures((1, 8, 8))]))
    metrics["FrechetPerClass"] = FrechetPerClass(DigitsClassifier(), classes=10)
    batches = zip(images.flip(-1).split(64), labels.split(64), numbers.split(64), strict=True)
    model = EvaluatedModel(None, Digits().split, pairs=Pairs())
    return evaluate(batches, Digits().split("train"), metrics, n=700, cache=cache, model=model)


def main(rank: int, world: int, store: str, cache: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    share = (slice(0, 200), slice(200, 700))[rank]
    print(json.dumps([judge(share, cache).values for _ in range(2)]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
