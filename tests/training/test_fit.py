"""What a run is: the same on any split of the batch, a log that is true, a guard against numbers that are none."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import BATCH, MUON, Broken, Kill, Killed, Noise, entries, lines, train, weights

from mezzotint.diffusion import Objective, StratifiedTimes
from mezzotint.errors import ConfigError, TrainingError
from mezzotint.runs.checkpoints import newest
from mezzotint.training import Callback, Hardware, Log, NaNGuard, Preview, TrainingRun, Validation
from mezzotint.training.agreement import check_ranks_agree, code
from mezzotint.training.fitting import waited_for

HERE = Path(__file__).parent


def assert_close(one: Path, two: Path, tolerance: float = 1e-5) -> None:
    a, b = weights(one), weights(two)
    for part in ("state_dict", "ema"):
        left, right = dict(entries(a[part])), dict(entries(b[part]))
        assert left.keys() == right.keys()
        for name, value in left.items():
            torch.testing.assert_close(value, right[name], rtol=tolerance, atol=tolerance)
    for left, right in zip(lines(one), lines(two), strict=True):
        assert dict(entries(left)) == pytest.approx(dict(entries(right)), rel=1e-4)


def pixels(file: Path) -> torch.Tensor:
    with Image.open(file) as picture:
        return torch.from_numpy(np.asarray(picture).astype(int))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "whole"
    train(directory, extra={"preview": Preview(every=50 * BATCH, images=5)})
    return directory


def test_four_micro_batches_are_one_batch(whole, tmp_path):
    train(tmp_path, hardware=Hardware(accelerator="cpu", micro_batch=4))
    assert_close(whole, tmp_path)
    assert weights(tmp_path)["global_step"] == 50


def test_the_number_of_micro_batches_may_change_on_the_way(whole, tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, extra={"kill": Kill(26)})
    train(tmp_path, hardware=Hardware(accelerator="cpu", micro_batch=4))
    assert_close(whole, tmp_path)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    """What two processes leave behind that play the stories of tiny.py together."""
    from torch.distributed import TCPStore

    directory = tmp_path_factory.mktemp("two")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "tiny.py"), str(directory), "two_ranks"],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=200)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(said)
    return directory


@pytest.mark.timeout(240)
def test_two_processes_are_one(whole, two_ranks):
    assert_close(whole, two_ranks / "whole")
    one, two = (pixels(run / "samples" / "step-00000050.png") for run in (whole, two_ranks / "whole"))
    assert one.shape == two.shape
    assert (one - two).abs().max() <= 2


def test_two_processes_survive_a_kill_to_the_bit(two_ranks):
    one, two = (dict(entries(weights(two_ranks / name))) for name in ("whole", "killed"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name], name
    assert lines(two_ranks / "whole") == lines(two_ranks / "killed")
    named = [(two_ranks / name / "checkpoints/best.json").read_text() for name in ("whole", "killed")]
    assert named[0] == named[1]


def test_a_network_in_shards_is_whole_in_its_checkpoints(whole, two_ranks, tmp_path):
    """It was killed and resumed; then one process goes on from what two have cut."""
    assert_close(whole, two_ranks / "sharded")
    assert weights(two_ranks / "sharded").keys() == weights(whole).keys()
    train(shutil.copytree(two_ranks / "sharded", tmp_path / "cut"), steps=60)
    train(shutil.copytree(whole, tmp_path / "whole"), steps=60)
    assert_close(tmp_path / "whole", tmp_path / "cut")


def test_muon_puts_matrices_in_shards_together(two_ranks, tmp_path):
    train(tmp_path / "muon", optimizer=MUON)
    assert_close(tmp_path / "muon", two_ranks / "sharded-muon")


def test_two_ranks_agree_on_what_stops_them(two_ranks):
    told = [json.loads((two_ranks / f"told-{rank}.json").read_text()) for rank in range(2)]
    assert [(one["asked"]["state"], one["asked"]["steps"]) for one in told] == [("preempted", 15)] * 2
    assert newest(two_ranks / "asked" / "checkpoints").name == "step-00000015.ckpt"
    assert told[0]["broken"] == told[1]["broken"]
    assert "nan at step 24, image 373" in told[0]["broken"]
    assert "Rank 1 disagrees with rank 0 about config" in told[0]["differs"] == told[1]["differs"]


def test_each_step_has_one_line_and_the_clock_stands_apart(whole):
    read = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in read] == [10, 20, 30, 40, 50]
    assert [line["images"] for line in read] == [160, 320, 480, 640, 800]
    assert all({"loss", "grad_norm", "lr", "time"} <= line.keys() for line in read)
    assert [line["step"] for line in read if "validation" in line] == [20, 40, 50]
    assert read[-1]["time"]["seconds"] > 0


def test_the_logged_loss_is_the_mean_of_the_steps(tmp_path):
    class Sum(Callback):
        seen: list[float]

        def start(self, run):
            self.seen = []

        def step(self, run):
            self.seen.append(float(torch.cat(run.module.losses).mean()))

    total = Sum()
    outcome = train(tmp_path, steps=15, extra={"sum": total, "log": Log(4)})
    logged = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    parts = [total.seen[i : i + 4] for i in range(0, 15, 4)]
    assert logged == pytest.approx([sum(part) / len(part) for part in parts], rel=1e-6)
    assert outcome["loss"] == logged[-1]


def test_a_budget_is_rounded_up_to_whole_batches(tmp_path, capsys):
    outcome = train(tmp_path, budget=5 * BATCH - 3)
    assert (outcome["steps"], outcome["images"]) == (5, 5 * BATCH)
    assert "rounded up" in capsys.readouterr().err


def test_a_run_keeps_its_batch_size(tmp_path):
    train(tmp_path, steps=7)
    for batch_size in (32, 8):
        with pytest.raises(ConfigError, match=r"has seen 112 images in 7 steps; go on with batch_size=16"):
            train(tmp_path, steps=10, batch_size=batch_size)
    assert train(tmp_path, steps=8)["steps"] == 8


def test_a_run_is_saved_though_nobody_says_how(tmp_path):
    outcome = train(tmp_path, steps=20, callbacks=None)
    assert outcome["steps"] == 20
    assert [file.name for file in sorted((tmp_path / "checkpoints").glob("*.ckpt"))] == [
        f"step-{step:08d}.ckpt" for step in (18, 19, 20)
    ]


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, micro_batch):
    example = 23 * BATCH + 5  # of step 24, counted from 1
    hardware = Hardware(accelerator="cpu", micro_batch=micro_batch)
    with pytest.raises(TrainingError, match=r"nan at step 24, image 373, t=\d+ .*lr"):
        train(tmp_path, objective=Broken(example), hardware=hardware)
    assert newest(tmp_path / "checkpoints").name == "step-00000021.ckpt"
    assert [line["step"] for line in lines(tmp_path)] == [10, 20]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    class Break(Callback):
        order = -100

        def step(self, run):
            if run.step == 7:
                next(run.module.parameters()).data.fill_(torch.inf)

    with pytest.raises(TrainingError, match="not finite after step 7"):
        train(tmp_path, extra={"break": Break()})
    assert newest(tmp_path / "checkpoints") is None


def test_nobody_draws_from_weights_that_are_no_numbers(tmp_path):
    """The loss of step 24 is told, and not that a picture of step 25 cannot be drawn."""
    late = {"finite": NaNGuard(50), "checkpoints": Callback(), "sample_metrics": Callback()}
    looks = {"preview": Preview(every=25 * BATCH, images=4)}
    with pytest.raises(TrainingError, match="nan at step 24, image 373"):
        train(tmp_path, objective=Broken(23 * BATCH + 5), extra=late | looks)
    with pytest.raises(TrainingError, match="nan at step 20, image 309"):  # which validation looks at
        train(tmp_path, objective=Broken(19 * BATCH + 5), extra=late | looks)


@pytest.mark.parametrize(
    "said", ["Expected to have finished reduction in the prior iteration", "were not used in producing the loss"]
)
def test_what_ddp_waited_for_is_named(said):
    held = torch.nn.ModuleDict({"denoiser": torch.nn.Linear(2, 2)})
    held["denoiser"].weight.grad = torch.zeros(2, 2)
    assert waited_for(RuntimeError(f"parameters that {said}, and so on"), held) == ["bias"]
    assert waited_for(RuntimeError("another"), held) == []


def test_ranks_of_other_code_are_refused(monkeypatch):
    def gather(theirs, mine):
        theirs[:] = [mine, mine | {"code": "another"}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    run = TrainingRun(Path(), None, None, 0, 100, 10, world=2)
    with pytest.raises(TrainingError, match=r"Rank 1 disagrees with rank 0 about code\. .* one installation"):
        check_ranks_agree(run)
    assert len(code()) == 64


def test_validation_is_the_same_every_time_and_has_its_shares(whole):
    looks = []

    class Twice(Callback):
        order = 60

        def finish(self, run):
            for _ in range(2):
                validation = Validation(images=60, bins=3)
                validation.on_interval(run)
                looks.append(dict(run.pending.pop("validation")))
            looks.append(validation.sums(run, run.average()))

    train(whole.parent / "twice", extra={"twice": Twice()})
    assert looks[0] == looks[1] == lines(whole)[-1]["validation"]
    totals, counts = looks[2]
    assert counts.tolist() == [20, 20, 20]
    assert looks[0]["loss"] == pytest.approx(float(totals.sum()) / 60)
    assert looks[0]["share_1"] == pytest.approx(float(totals[1]) / 20)


@dataclass(frozen=True)
class Scarce(Noise):
    """Holds so many images out."""

    held_out: int = 2

    def split(self, name):
        return super().split(name) if name == "train" else super().split(name).take(torch.arange(self.held_out))


def test_every_noise_level_is_looked_at_however_few_images_are_held_out(tmp_path):
    counts = []

    class Count(Validation):
        def sums(self, *given):
            found = super().sums(*given)
            counts.append(found[1].clone())
            return found

    extra = {"validation": Count(every=1000, bins=8), "sample_metrics": Callback()}
    outcome = train(
        tmp_path, steps=2, dataset=Scarce(), objective=Objective(times=StratifiedTimes(strata=64)), extra=extra
    )
    assert min(outcome["validation"].values()) > 0
    assert sum(counts).tolist() == pytest.approx([16] * 8, abs=1)


def test_previews_are_drawn(tmp_path):
    from PIL import Image

    train(tmp_path, steps=10, extra={"preview": Preview(every=5 * BATCH, images=9)})
    files = sorted((tmp_path / "samples").iterdir())
    assert [file.name for file in files] == ["step-00000005.png", "step-00000010.png"]
    with Image.open(files[-1]) as picture:
        assert min(picture.size) > 3 * 40


def test_lightnings_own_callbacks_stand_beside_ours(tmp_path):
    import lightning.pytorch as pl

    class Count(pl.Callback):
        batches = 0

        def on_train_batch_end(self, *_):
            self.batches += 1

    count = Count()
    train(tmp_path, steps=4, extra={"count": count}, hardware=Hardware(accelerator="cpu", micro_batch=8))
    assert count.batches == 8
    with pytest.raises(ConfigError, match="neither a callback of mezzotint nor of lightning"):
        train(tmp_path / "other", extra={"wrong": object()})


def test_early_stopping_on_the_validation_loss_finishes_a_run(tmp_path):
    import lightning.pytorch.callbacks as theirs

    def stop() -> dict:
        return {"stop": theirs.EarlyStopping("validation/loss", min_delta=1e9, patience=1)}  # nothing is so much better

    outcome = train(tmp_path, steps=70, extra=stop())
    assert (outcome["state"], outcome["signal"], outcome["steps"]) == ("finished", None, 40)
    assert "EarlyStopping stopped it after 640 of 1,120 images (Monitored metric" in outcome["stopped_early"]
    assert newest(tmp_path / "checkpoints").name == "step-00000040.ckpt"  # the second validation
    assert [line["step"] for line in lines(tmp_path) if "validation" in line] == [20, 40]
    assert [line["step"] for line in lines(tmp_path)] == [10, 20, 30, 40]
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["images"]) == ("finished", 640)
    found = {key: status["early_stop"][key] for key in ("by", "images", "budget")}
    assert found == {"by": ["EarlyStopping"], "images": 640, "budget": 1120}
    again = train(tmp_path, steps=70, extra=stop())
    assert (again["steps"], again["stopped_early"]) == (40, outcome["stopped_early"])  # nothing is trained
    assert again["validation"] == outcome["validation"]
    assert train(tmp_path, steps=90, extra=stop())["steps"] == 60  # a larger budget asks it once more
    on = train(tmp_path, steps=90)  # without it
    assert (on["state"], on["steps"], on["stopped_early"]) == ("finished", 90, None)
    assert not json.loads((tmp_path / "status.json").read_text()).get("early_stop")


def test_early_stopping_on_a_name_that_nothing_logs_is_refused(tmp_path):
    import lightning.pytorch.callbacks as theirs

    with pytest.raises(ConfigError, match=r"callbacks: .*metric `los` which is not available.*`validation/loss`"):
        train(tmp_path, steps=20, extra={"wrong": theirs.EarlyStopping("los")})


def test_early_stopping_goes_on_counting_in_a_run_that_was_killed(tmp_path):
    import lightning.pytorch.callbacks as theirs

    def stopped() -> dict:
        return {"stop": theirs.EarlyStopping("validation/loss", min_delta=1e9, patience=2)}

    with pytest.raises(Killed):
        train(tmp_path, steps=100, extra=stopped() | {"kill": Kill(50)})
    assert train(tmp_path, steps=100, extra=stopped())["steps"] == 60


def test_lightnings_callbacks_find_in_a_run_what_they_look_at(tmp_path):
    import lightning.pytorch.callbacks as theirs

    best = theirs.ModelCheckpoint(monitor="sample_metrics/fd_pixels_80", filename="{step}")
    metrics = {}

    class Look(theirs.Callback):
        def on_validation_end(self, trainer, module):
            metrics.update(trainer.callback_metrics)

    extra = {"best": best, "look": Look(), "rate": theirs.LearningRateMonitor(), "timer": theirs.Timer()}
    train(tmp_path, steps=60, extra=extra)
    assert {"loss", "grad_norm", "lr", "validation/loss", "sample_metrics/fd_pixels_80"} <= metrics.keys()
    found = [line["sample_metrics"]["fd_pixels_80"] for line in lines(tmp_path) if "sample_metrics" in line]
    assert float(best.best_model_score) == pytest.approx(min(found))
    assert Path(best.best_model_path).parent == tmp_path / "lightning" / "checkpoints"
    assert torch.load(best.best_model_path, weights_only=True)["ema"]
    assert [line["step"] for line in lines(tmp_path) if "lr-AdamW" in line] == [1, 50]  # the epoch, and every 50th


def test_a_run_that_lightnings_callbacks_end_is_finished(tmp_path):
    import lightning.pytorch as pl

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 12

    outcome = train(tmp_path, extra={"stop": Stop()})
    assert (outcome["state"], outcome["stopped_early"]) == ("finished", "Stop stopped it after 192 of 800 images")
    assert newest(tmp_path / "checkpoints").name == "step-00000012.ckpt"
    assert outcome["validation"]["loss"] > 0  # the end is looked at, and its line is that of its step
    assert [line["step"] for line in lines(tmp_path)] == [10, 12]


def test_numbers_of_the_last_step_are_added_to_its_line(tmp_path):
    import lightning.pytorch as pl

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 10  # of which the log has a line already

    train(tmp_path, extra={"stop": Stop()})
    (line,) = lines(tmp_path)
    assert line["step"] == 10
    assert {"loss", "validation", "sample_metrics"} <= line.keys()


def test_a_timer_without_time_ends_a_run_at_its_start(tmp_path):
    import lightning.pytorch.callbacks as theirs

    with pytest.raises(ConfigError, match="Timer stops training before its first step"):
        train(tmp_path, extra={"timer": theirs.Timer({"seconds": 0})})
    with pytest.raises(Killed):
        train(tmp_path, extra={"timer": theirs.Timer({"days": 1}), "kill": Kill(12)})
    outcome = train(tmp_path, extra={"timer": theirs.Timer({"microseconds": 1})})  # of which the first start took more
    assert (outcome["state"], outcome["steps"]) == ("finished", 7)
    assert outcome["stopped_early"].startswith("Timer stopped it after 112 of 800 images")


def test_lightning_says_nothing(tmp_path, capfd):
    train(tmp_path, steps=2)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_the_module_is_a_hinge():
    import mezzotint.training.module as module

    assert len(Path(module.__file__).read_text().splitlines()) < 160


def test_settings_import_no_lightning():
    """Callbacks are Lightning's, so that naming one imports it; whoever samples or evaluates names none."""
    code = (
        "import sys; from mezzotint.training import AdamW, EvaluationPlan, Hardware;"
        "heavy = {'lightning', 'torchvision', 'torchmetrics', 'wandb', 'PIL', 'tensorboard'} & sys.modules.keys();"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("every", [0, -1])
def test_intervals_that_cannot_be(every):
    for kind in (Log, NaNGuard):
        with pytest.raises(ValueError, match=f"every={every}"):
            kind(every)
