"""Prints torch's precision switches before, inside and after `exact_arithmetic`, for one way of setting them.

python arithmetic_switches.py "torch.set_float32_matmul_precision('high')"
"""

import json
import sys

import torch

from mezzotint.metrics.extractors.base import exact_arithmetic


def switches() -> list[str]:
    """What each switch says; some refuse to be read where old and new ones are mixed."""
    reads = (
        lambda: torch.backends.cudnn.conv.fp32_precision == "tf32",
        lambda: torch.backends.cuda.matmul.fp32_precision == "tf32",
        lambda: torch.backends.cuda.matmul.allow_tf32,
        lambda: torch.get_float32_matmul_precision(),
        lambda: torch.backends.cudnn.allow_tf32,
        lambda: torch.backends.cudnn.benchmark,
    )
    found = []
    for read in reads:
        try:
            found.append(read())
        except RuntimeError:
            found.append("refused")
    return found


exec(sys.argv[1])
before = switches()
with exact_arithmetic():
    inside = switches()
print(json.dumps([before, inside, switches()]))
