"""The speed of a loader, measured beside that of the training, chooses workers; the batches do not depend on it."""

import itertools
import time
from dataclasses import dataclass, field

import pytest
import torch

from mezzotint.data.loader import TIMED, WARM, Loader, LoaderSpeed


@dataclass
class Slow:
    """Batches of four images, each of which takes `seconds`."""

    seconds: float = 0.0
    made: list[int] = field(default_factory=list)

    def __getitem__(self, key: int) -> dict[str, torch.Tensor]:
        time.sleep(self.seconds)
        self.made.append(key)
        return {"index": torch.full((4,), key), "image": torch.full((4, 1), key)}

    def keys(self, first: int) -> itertools.count:
        return itertools.count(first)


def trained(loader: Loader, count: int, seconds: float = 0.0) -> list[int]:
    """The keys of batches, each of which is trained on for some time."""
    found = []
    for batch in itertools.islice(loader, count):
        time.sleep(seconds)
        found.append(int(batch["image"][0]))
    return found


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, "auto"])
def test_batches_are_the_same_whatever_is_measured(workers, cores, capsys):
    speed = LoaderSpeed(workers)
    speed.measure(True)
    loader = Loader(Slow(0.004), lambda: 5, speed)
    assert trained(loader, WARM + TIMED + 6, 0.001) == list(range(5, 5 + WARM + TIMED + 6))
    assert speed.done
    assert capsys.readouterr().err.count("\n") == 1
    assert trained(loader, 3) == [5, 6, 7]
    assert not capsys.readouterr().err


def test_a_slow_loader_gets_the_workers_that_keep_up(cores, capsys):
    speed = LoaderSpeed("auto")
    speed.settle(images=100, load=0.3, wait=0.3, total=0.4)
    assert speed.chosen == 4  # 1.25 times 0.3 s by 0.1 s
    assert capsys.readouterr().err == (
        "data: the loader makes 333 images/s by one process, about 1,333 by 4 workers (hardware.workers=auto: 4), and "
        "training takes 1,000 images/s\n"
    )


def test_a_fast_loader_gets_none(cores, capsys):
    speed = LoaderSpeed("auto")
    speed.settle(images=100, load=0.001, wait=0.001, total=0.1)
    assert speed.chosen == 0
    assert "(hardware.workers=auto: 0), and training takes 1,010 images/s\n" in capsys.readouterr().err


def test_a_loader_that_is_too_slow_is_warned_of(cores, capsys):
    speed = LoaderSpeed(0)
    speed.settle(images=64, load=0.2, wait=0.2, total=0.3)
    assert capsys.readouterr().err == (
        "data: the loader makes 320 images/s by one process, and training takes 640 images/s. Training waits for "
        "images 67% of the time: hardware.workers=3 helps, or convert them once by `mezzotint prepare ... "
        "out=FILE.npy`\n"
    )
    speed = LoaderSpeed("auto")
    speed.settle(images=64, load=2.0, wait=2.0, total=2.1)
    assert speed.chosen == 7
    assert "Training waits for images 95% of the time: convert them once" in capsys.readouterr().err


def test_a_set_in_memory_is_not_measured(capsys):
    speed = LoaderSpeed(0)
    speed.measure(False)
    trained(Loader(Slow(), speed=speed), WARM + TIMED + 2)
    assert not capsys.readouterr().err


def test_nothing_is_made_twice_without_workers(cores):
    speed, slow = LoaderSpeed(0), Slow()
    speed.measure(True)
    trained(Loader(slow, speed=speed), WARM + TIMED + 2)
    assert slow.made == list(range(WARM + TIMED + 2))
