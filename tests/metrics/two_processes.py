"""One of several processes that judge the same images together; prints the values as JSON, twice.

    python two_processes.py RANK WORLD STORE CACHE

The first time all compute the reference, the second time it is read from the cache.
"""

import json
import sys

import torch
import torch.distributed as dist

from mezzotint.data import Digits
from mezzotint.metrics import DigitsClassifier, Evaluation, Frechet, Kernel, evaluate


def judge(share: torch.Tensor, cache: str) -> Evaluation:
    """700 mirrored digits against the train part, of which this process holds a share."""
    metrics = {"frechet": Frechet(DigitsClassifier()), "kernel": Kernel(DigitsClassifier())}
    return evaluate(share.split(64), Digits().split("train"), metrics, n=700, cache=cache)


def drawn() -> torch.Tensor:
    return Digits().split("all").batch(torch.arange(700))[0].flip(-1)


def main(rank: int, world: int, store: str, cache: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    share = drawn().tensor_split([200])[rank]
    print(json.dumps([judge(share, cache).values for _ in range(2)]))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
