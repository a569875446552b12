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

from tiny import train

from mezzotint.training import Callback, Hardware, TrainingRun

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


def main(directory: Path) -> None:
    torch.set_num_threads(1)
    expected = train(directory / "cpu", steps=30)
    install(NAME)
    here = SingleDeviceStrategy(torch.device(NAME, 0), ToyAccelerator())
    Hardware.trainer_arguments = lambda self, place: {"precision": "32-true", "strategy": here}
    with FakeDevice(NAME) as device:
        waits = Waits(device)
        found = train(directory / "device", steps=30, extra={"waits": waits})
    print(json.dumps({"expected": expected, "found": found, "waits": waits.found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
