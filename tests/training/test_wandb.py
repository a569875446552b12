"""Weights & Biases: online only where it can be, one run however often it is resumed, and never in the way."""

import socket
import threading
import time

import pytest
import wandb
from board import KEY, inspect, serving
from tiny import Kill, Killed, lines, train

from mezzotint.errors import ConfigError
from mezzotint.training import Preview, WandB
from mezzotint.training.tracking import wandb as module
from mezzotint.training.tracking.wandb_server import WandbServer, saved_key
from mezzotint.training.tracking.wandb_state import WandbUploadState, new_id


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """A user whom the tracker does not know, and who said nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def board(nobody):
    with serving() as server:
        nobody.setenv("WANDB_BASE_URL", server.url)
        nobody.setenv("WANDB_API_KEY", KEY)
        wandb.teardown()  # it has read the environment once and for all
        yield server
        wandb.teardown()


@pytest.fixture
def silent():
    """A server that accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []
        accepting = threading.Thread(target=lambda: [held.append(listener.accept()) for _ in range(9)], daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for connection, _ in held:
            connection.close()


def test_offline_pieces_of_a_killed_run_share_a_group_and_no_line(nobody, tmp_path, capfd):
    with pytest.raises(Killed):
        train(tmp_path / "a", steps=30, loggers={"wandb": WandB()}, extra={"kill": Kill(25)}, config={"seed": 1})
    train(tmp_path / "a", steps=30, loggers={"wandb": WandB()}, config={"seed": 1})
    said = capfd.readouterr()
    assert "wandb" not in said.out
    told = [line for line in said.err.splitlines() if line.startswith("wandb: ")]
    assert len(told) == 2
    assert f"mezzotint sync {tmp_path / 'a'}" in told[0]
    first, second = (inspect(piece) for piece in sorted((tmp_path / "a" / "wandb").glob("offline-run-*")))
    assert [first["exit_code"], second["exit_code"]] == [1, 0]
    assert second["run_id"] == f"{first['run_id']}-1"
    assert (first["config"]["resumed_from"], second["config"]["resumed_from"]) == ([], [336])
    assert (first["summary"]["images"], second["summary"]["images"]) == (320, 480)
    assert second["summary"]["loss"] == lines(tmp_path / "a")[-1]["loss"]
    assert second["summary"]["state"] == "finished"


def test_online_a_killed_run_goes_on_as_the_same_run_without_a_step_twice(board, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, steps=30, loggers={"wandb": WandB()}, extra={"kill": Kill(25)}, config={"seed": 1})
    (kept,) = board.runs.values()
    assert (list(kept.points("loss")), kept.code) == ([160, 320], 1)
    train(
        tmp_path, steps=30, loggers={"wandb": WandB()}, extra={"p": Preview(every=1000, images=4)}, config={"seed": 1}
    )
    (kept,) = board.runs.values()
    assert kept.points("loss") == {line["images"]: line["loss"] for line in lines(tmp_path)}
    assert (kept.code, kept.summary["state"], kept.config["resumed_from"]) == (0, "finished", [336])
    assert kept.name == kept.group == tmp_path.name
    assert sum(name.startswith("media/images/samples") for name in kept.files) == 1


def test_a_server_that_answers_and_takes_no_run_in_costs_the_run_nothing(board, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(module, "WELCOME", 1.0)
    board.refusing = True
    train(tmp_path, steps=10, loggers={"wandb": WandB()})
    assert "wandb: recording offline, " in capfd.readouterr().err
    (piece,) = (tmp_path / "wandb").glob("offline-run-*")
    assert inspect(piece)["summary"]["images"] == 160


def test_a_tracker_that_comes_late_is_told_what_was_before(board, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, steps=30, extra={"kill": Kill(25)})
    train(tmp_path, steps=30, loggers={"wandb": WandB(tags=["late"], notes="n", group="g")})
    (kept,) = board.runs.values()
    assert list(kept.points("loss")) == [160, 320, 480]
    assert kept.group == "g"


def test_disabled_it_leaves_nothing(nobody, tmp_path):
    train(tmp_path, steps=10, loggers={"wandb": WandB(mode="disabled")}, extra={"preview": Preview(images=4)})
    assert not (tmp_path / "wandb").exists()


def test_where_a_mode_is_given_it_is_obeyed(nobody):
    nobody.setenv("WANDB_API_KEY", KEY)
    nobody.setenv("WANDB_MODE", "disabled")
    assert module.choose("auto")[0] == "disabled"
    assert module.choose("offline")[0] == "offline"
    nobody.setenv("WANDB_MODE", "dryrun")
    assert module.choose("auto")[0] == "offline"
    nobody.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ConfigError, match="sometimes"):
        module.choose("auto")
    with pytest.raises(ValueError, match="mode='maybe'"):
        WandB(mode="maybe")
    with pytest.raises(ValueError, match="checkpoint='all'"):
        WandB(checkpoint="all")


def test_online_needs_a_key_that_the_server_takes(nobody):
    assert module.choose("auto") == ("offline", module.choose("auto")[1])
    assert "wandb login" in module.choose("auto")[1]
    with serving() as server:
        nobody.setenv("WANDB_BASE_URL", server.url)
        nobody.setenv("WANDB_API_KEY", KEY)
        assert module.choose("auto") == ("online", "")
        server.key = "y" * 40
        assert module.choose("auto") == ("offline", f"{server.url} refuses the key")
        nobody.setenv("WANDB_MODE", "online")  # insisted on
        with pytest.raises(ConfigError, match="refuses the key"):
            module.choose("auto")


def test_a_server_that_never_answers_costs_seconds(silent):
    began = time.monotonic()
    assert WandbServer(silent, KEY).refusal(0.3) == f"{silent} does not answer within 0.3 s"
    assert time.monotonic() - began < 3
    assert WandbServer(silent, KEY).query(0.1) == f"{silent} does not answer within 0.1 s"  # the socket's own limit


def test_whoever_answers_must_be_a_server_of_the_tracker(nobody, silent):
    with serving() as server:
        assert "no server" in WandbServer(f"{server.url}/elsewhere", KEY).refusal()
        assert WandbServer(server.url, KEY).refusal() is None
        assert (
            WandbServer(server.url, KEY, proxies=(("http", silent),)).refusal() is None
        )  # this machine needs no proxy
        through = WandbServer("http://tracker.invalid", KEY, proxies=(("http", server.url),))
        assert through.refusal() is None  # asked by the proxy alone
        nobody.setenv("http_proxy", silent)
        assert "does not answer" in WandbServer("http://tracker.invalid", KEY).refusal(0.3)
        nobody.setenv("http_proxy", "http://127.0.0.1:9")
        assert "cannot be reached" in WandbServer("http://tracker.invalid", KEY).refusal()
    assert "no key" in WandbServer(server.url).refusal()
    assert "cannot be reached" in WandbServer(server.url, token=True).refusal()


def test_the_key_of_a_login_is_found(nobody, tmp_path):
    (tmp_path / "keys").write_text("machine tracker.example login user password secret\n")
    nobody.setenv("NETRC", str(tmp_path / "keys"))
    assert saved_key("tracker.example") == "secret"
    assert saved_key("other.example") is None
    (tmp_path / "keys").write_text("nonsense")
    assert saved_key("tracker.example") is None


def test_a_run_keeps_its_id_and_a_sweep_gives_its_own(nobody, tmp_path):
    sent = WandbUploadState.read(tmp_path)
    sent.write(tmp_path)
    assert WandbUploadState.read(tmp_path) == sent != WandbUploadState.read(tmp_path / "other")
    nobody.setenv("WANDB_RUN_ID", "given")
    assert new_id() != "given"
    nobody.setenv("WANDB_SWEEP_ID", "s")
    assert new_id() == "given"
