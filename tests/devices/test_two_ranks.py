"""Every network on two processes: copies and shards give the losses and the gradients of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from members import networks


@pytest.fixture(scope="module")
def ranked() -> dict[str, list[float]]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("ranked.py"))]
    both = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            command, env=both | {"RANK": str(i)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=600) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], said[0][1][-2000:] + said[1][1][-2000:]
    return json.loads(said[0][0].splitlines()[-1])


@pytest.mark.timeout(700)
@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("way", ["a static graph of copies", "shards"])
def test_two_ranks_are_one(ranked, name, way):
    """With bucket views and a static graph, or cut by FSDP2; gradients as a share of the largest."""
    assert ranked[name][way == "shards"] < 1e-5
