"""A run on a FakeDevice: `python fitted.py DIRECTORY` prints its outcome, that of the CPU, and the waits by step.

Lightning's loop, the data module, the optimizer, averages and the callbacks are those of every run.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from fake_device import FakeDevice, install
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from tiny import BATCH, train

from mezzotint.devices import WITHOUT_FLOAT64
from mezzotint.training import Callback, Hardware, Histograms, PowerEMA, Preview, Progress, TrainingRun

NAME = "toy"


class ToyAccelerator(Accelerator):
    """Lightning's view of the device."""

    def setup_device(self, device: torch.device) -> None: ...

    def teardown(self) -> None: ...

    def get_device_stats(self, device: Any) -> dict[str, Any]:
        return {}

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return NAME


class Waits(Callback):
    """Notes how often the host waited in each step, after all other callbacks."""

    order = 1000

    def __init__(self, device: FakeDevice) -> None:
        self.device, self.found = device, dict[int, list[str]]()

    def step(self, run: TrainingRun) -> None:
        self.found[run.step] = [*self.device.waits]
        self.device.waits.clear()


def play(directory: Path, **more: Callback) -> dict[str, Any]:
    """A run with every callback that looks at the weights; looks and snapshots every 20 steps."""
    looks = {"preview": Preview(20 * BATCH, 4), "histograms": Histograms(20 * BATCH), "progress": Progress()}
    return train(directory, steps=30, ema=PowerEMA([0.05, 0.25], 20 * BATCH), extra=looks | more)


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    expected = play(directory / "cpu")
    install(NAME)
    Hardware.trainer_arguments = lambda self, place: {
        "precision": "32-true",
        "strategy": SingleDeviceStrategy(torch.device(NAME, 0), ToyAccelerator()),
    }
    with FakeDevice(NAME) as device:
        waits = Waits(device)
        found = play(directory / "device", waits=waits)
    WITHOUT_FLOAT64.add(NAME)
    with FakeDevice(NAME, float64=False):
        apple = play(directory / "apple")
    print(json.dumps({"expected": expected, "found": found, "apple": apple, "waits": waits.found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
