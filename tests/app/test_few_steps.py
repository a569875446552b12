"""Commands around objectives for few steps: one clear line for what does not fit, and sampling in 1, 2 and 4 calls."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.app import cli

TINY = ["debug=tiny", "hardware.threads=1", "metrics=[]", "network=mlp"]
FLOW = ["schedule=rectified", "target=flow", *TINY]
MEAN_FLOW = ["objective=mean_flow", *FLOW]


@pytest.fixture
def command(tmp_path, capsys):
    """Run a command in its own folder; return its exit code and what it printed."""

    def run(*words: str) -> tuple[int, str]:
        code = cli.main([*words, f"paths.runs={tmp_path}/runs"])
        out, err = capsys.readouterr()
        return code, out + err

    return run


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([*MEAN_FLOW, "sampler=mean_flow", "target=velocity"], "Use target=flow"),
        ([*MEAN_FLOW, "sampler=mean_flow", "schedule=cosine"], "Use schedule=rectified"),
        ([*FLOW, "sampler=mean_flow"], "train with objective=mean_flow"),
        (["objective=consistency", *FLOW], "use sampler=lcm, grid.steps=1, 2 or 4"),
        (["objective=consistency", "sampler=lcm", *FLOW, "target=clean"], "Use target=edm"),
        ([*MEAN_FLOW, "objective.guidance_scale=2", "objective.label_dropout=0"], "Use label_dropout=0.1"),
        (["objective=consistency_distillation", *FLOW], "objective.teacher.directory"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_before_training(command, tmp_path, words, reason):
    code, said = command("train", *words)
    assert code == 2
    (line,) = [line for line in said.splitlines() if not line.startswith("run: ")]
    assert reason in line
    assert not list(Path(tmp_path).glob("runs/*/checkpoints/*"))


def test_a_mean_flow_run_samples_in_any_number_of_calls_by_any_sampler(command, tmp_path):
    code, said = command("train", *MEAN_FLOW, "sampler=mean_flow", "name=mean")
    assert code == 0, said
    run = f"run={tmp_path}/runs/mean"
    assert "interval" in Path(f"{tmp_path}/runs/mean/config.yaml").read_text()
    for words in (["grid.steps=1"], ["grid.steps=4", "guidance=none"], ["sampler=ddim", "grid.steps=2"]):
        code, said = command("sample", run, "n=4", *words)
        assert code == 0, said


def test_consistency_runs_start_from_a_teacher_and_refuse_the_ode(command, tmp_path):
    assert command("train", *FLOW, "name=teacher")[0] == 0
    teacher = f"{tmp_path}/runs/teacher"
    words = ["objective=consistency_distillation", f"objective.teacher.directory={teacher}", f"init={teacher}"]
    code, said = command("train", *words, "sampler=lcm", *FLOW, "name=student")
    assert code == 0, said
    assert "init:" in said
    student = f"run={tmp_path}/runs/student"
    for steps in (1, 2, 4):
        assert command("sample", student, "n=4", f"grid.steps={steps}")[0] == 0
    assert command("sample", student, "n=4", "sampler=ddim", "grid.steps=1")[0] == 0
    code, said = command("sample", student, "n=4", "sampler=ddim", "grid.steps=2")
    assert code == 2
    assert "use sampler=lcm" in said
    code, said = command("sample", f"run={teacher}", "n=4", "sampler=mean_flow")
    assert code == 2
    assert "objective=mean_flow" in said


def test_continuous_consistency_in_the_setting_of_its_paper(command, tmp_path):
    setting = ["schedule=trigflow", "target=edm", "c_in=unit_variance", "c_noise=raw_time", "loss_weight=uncertainty"]
    words = ["objective=continuous_consistency", *setting, "time_distribution=log_normal", *TINY, "name=scm"]
    code, said = command("train", *words)
    assert code == 2
    assert "use sampler=lcm" in said
    code, said = command("train", *words, "sampler=lcm", "grid.steps=2")
    assert code == 0, said
    assert command("sample", f"run={tmp_path}/runs/scm", "n=4", "grid.steps=1")[0] == 0


@pytest.mark.parametrize(
    ("objective", "more", "calls"),
    [
        ("reflow", ["objective.grid.steps=2"], "sampler=euler"),
        ("progressive_distillation", ["objective.steps=2"], "sampler=ddim"),
    ],
)
def test_students_of_steps_train_resume_and_sample_without_their_teacher(command, tmp_path, objective, more, calls):
    assert command("train", *FLOW, "name=teacher")[0] == 0
    teacher = tmp_path / "runs" / "teacher"
    words = [f"objective={objective}", f"objective.teacher.directory={teacher}", f"init={teacher}", *more]
    code, said = command("train", *words, *FLOW, "name=student")
    assert code == 0, said
    code, said = command("train", f"run={tmp_path}/runs/student", "budget=96")
    assert code == 0, said
    teacher.rename(tmp_path / "gone")
    code, said = command("sample", f"run={tmp_path}/runs/student", "n=4", calls, "grid.steps=2")
    assert code == 0, said


def test_a_teacher_of_other_data_is_refused_before_training(command, tmp_path):
    """Its examples have another shape, or it knows fewer classes or no such condition."""
    runs, text = tmp_path / "runs", "{_target_: mezzotint.networks.TextCondition, length: 4}"
    for name, words in {"small": ["data.classes=0"], "two": ["data.classes=2", "data.labels=l"]}.items():
        arrays = {"x": np.zeros((40, 1, 4, 4), np.float32), "l": np.arange(40) % 2, "text": np.array(["a"] * 40)}
        np.savez(tmp_path / f"{name}.npz", **arrays)
        place = [f"data.root={tmp_path}/{name}.npz", "data=array", "data.member=x"]
        assert command("train", *FLOW, *place, *words, f"name={name}")[0] == 0
    place = [f"data.root={tmp_path}/two.npz", "data=array", "data.member=x", "data.labels=l"]
    for teacher, words, reason in (
        ("two", [], "trained on examples of shape [1, 4, 4], and this run has [1, 8, 8]"),
        ("small", place, "objective.teacher knows 0 classes, and the data have 2: give data.classes=0"),
        ("two", [*place, f"data.conditions={{text: {text}}}"], "trained without the condition 'text' of the data"),
    ):
        for objective in ("reflow", "consistency_distillation", "progressive_distillation"):
            calls = ["sampler=lcm", "grid.steps=1"] if objective.startswith("consistency") else []
            given = [f"objective={objective}", f"objective.teacher.directory={runs}/{teacher}", *calls, *words]
            code, said = command("train", *FLOW, *given, "name=student")
            assert code == 2
            assert reason in said.splitlines()[-1]
