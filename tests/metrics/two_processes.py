"""One of several processes that judge the same images together; prints the values as JSON.

python two_processes.py RANK WORLD STORE CACHE
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from mezzotint.data import Digits
from mezzotint.metrics import DigitsClassifier, Frechet, Kernel, evaluate

METRICS = {"frechet": Frechet, "kernel": Kernel}


def main(rank: int, world: int, store: str, cache: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    drawn = Digits().split("all").batch(torch.arange(700))[0].flip(-1)
    share = drawn.tensor_split([200])[rank] if world == 2 else drawn
    result = evaluate(
        share.split(64 + rank),
        Digits().split("train"),
        {name: metric(DigitsClassifier()) for name, metric in METRICS.items()},
        n=700,
        cache=Path(cache),
    )
    print(json.dumps(result.values))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
