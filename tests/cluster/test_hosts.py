"""Two hosts under torchrun, as network namespaces: one dies in the middle, and the run ends as if it had not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import TINY, Place, log, same_weights, status, wait_until

SCRIPT = Path(__file__).with_name("netns.sh")
LONG = ("budget=3200", "callbacks.checkpoints.every=800", "callbacks.log.every=30")  # 200 steps, saved every 50
STOP = 110


def cable(word: str) -> bool:
    """Whether netns.sh could do what it was told."""
    try:
        return subprocess.run([str(SCRIPT), word], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


class Hosts:
    """Agents of torchrun on two hosts, which see one folder."""

    def __init__(self, place: Place) -> None:
        # or torchrun's first agent would not tell a new one where its store is
        place.environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        self.place = place
        self.agents: list[subprocess.Popen[str]] = []

    def start(self, number: int, nodes: str, *words: str) -> subprocess.Popen[str]:
        settings = {
            "is_host": str(number == 1).lower(),
            "join_timeout": "90",
            "last_call_timeout": "1",
            "keep_alive_interval": "1",
            "keep_alive_max_attempt": "3",
        }
        by = (
            *("ip", "netns", "exec", f"mezzotint{number}", "env", f"GLOO_SOCKET_IFNAME=mezzo{number}"),
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", "--nproc-per-node=1"),
            *("--max-restarts=10", "--monitor-interval=0.5", "--rdzv-backend=c10d", "--rdzv-id=cut"),
            *("--rdzv-endpoint=10.77.0.1:29400", f"--local-addr=10.77.0.{number}"),
            f"--rdzv-conf={','.join('='.join(pair) for pair in settings.items())}",
            *("-m", "mezzotint"),
        )
        with open(self.place.folder.parent / f"host{number}.log", "a") as out:
            agent = self.place.start(
                "train", *TINY, *LONG, "name=cut", *words, by=by, stdout=out, stderr=subprocess.STDOUT
            )
        self.agents.append(agent)
        return agent

    def said(self) -> str:
        return "\n".join(file.read_text()[-4000:] for file in sorted(self.place.folder.parent.glob("host*.log")))

    def ends_well(self, agent: subprocess.Popen[str]) -> None:
        try:
            assert agent.wait(100) == 0, self.said()
        except subprocess.TimeoutExpired:
            pytest.fail(f"not done after 100 s:\n{self.said()}")


def kill(agent: subprocess.Popen[str]) -> None:
    """An agent and the rank that it started, which has a session of its own."""
    children = subprocess.run(["pgrep", "-P", str(agent.pid)], capture_output=True, text=True).stdout.split()
    for pid in (agent.pid, *map(int, children)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    agent.wait()


@pytest.fixture
def hosts(place: Place) -> Iterator[Hosts]:
    if not (os.geteuid() == 0 and cable("down") and cable("up")):
        pytest.skip("`ip netns` cannot be used here: root, Linux and iproute2 are needed")
    (place.folder / "mine.py").write_text(
        "import time\n"
        "from mezzotint.training import Callback\n\n\n"
        "class Wait(Callback):\n"
        "    def step(self, run):\n"
        f"        if run.step == {STOP} and not (run.directory / 'go').exists():\n"
        "            (run.directory / f'waits-{run.rank}').touch()\n"
        "            until = time.monotonic() + 100\n"
        "            while not (run.directory / 'go').exists() and time.monotonic() < until:\n"
        "                time.sleep(0.05)\n"
    )
    made = Hosts(place)
    try:
        yield made
    finally:
        for agent in made.agents:
            kill(agent)
        cable("down")


def waits(hosts: Hosts) -> Path:
    """The run, once both ranks are held at a step."""
    cut = hosts.place.folder / "runs/cut"
    wait_until(lambda: len(list(cut.glob("waits-*"))) == 2, 90)
    return cut


WAITS = "callbacks.wait._target_=mine.Wait"


def test_a_host_that_is_killed_and_comes_back(hosts: Hosts) -> None:
    """The other waits for it; both go on from the newest checkpoint."""
    words = ("2", "hardware.nodes=2", WAITS)
    first, second = hosts.start(1, *words), hosts.start(2, *words)
    cut = waits(hosts)
    kill(second)
    (cut / "go").touch()
    second = hosts.start(2, *words)
    hosts.ends_well(first)
    hosts.ends_well(second)
    hosts.place.run("train", *TINY, *LONG, "name=whole", "hardware.devices=2")
    whole = hosts.place.folder / "runs/whole"
    assert status(cut)["state"] == "finished"
    assert log(cut) == log(whole)
    same_weights(cut, whole)


def test_a_host_that_is_cut_off_for_good(hosts: Hosts) -> None:
    """Nothing tells the other but its silence; it goes on alone, where as many as there are will do."""
    words = ("1:2", "hardware.devices=auto", "hardware.timeout=8", WAITS)
    first, _ = hosts.start(1, *words), hosts.start(2, *words)
    cut = waits(hosts)
    assert cable("cut")
    (cut / "go").touch()
    hosts.ends_well(first)
    hosts.place.run("train", *TINY, *LONG, "name=whole")
    assert status(cut)["state"] == "finished"
    same_weights(cut, hosts.place.folder / "runs/whole", exact=False)
