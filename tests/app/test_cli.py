"""What the command says: help without weight, one line for what a user can mend, nothing left behind."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mezzotint import __version__
from mezzotint.app import cli, help
from mezzotint.app.config import arguments

from .conftest import TINY, Command, Done

COSINE_TO_ZERO = "schedule=continuous_cosine"  # alpha is exactly 0 at its end


def cpu_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "mezzotint", *words], check=True, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("words", "most"), [(["--help"], 0.3), (["train", "--help"], 0.3), (["train", "--cfg", "job"], 1.5)]
)
def test_questions_are_answered_at_once(words: list[str], most: float) -> None:
    """A quiet core takes 0.08, 0.08 and 0.4 seconds; importing torch alone would take 1.6."""
    assert min(cpu_seconds(*words) for _ in range(2)) < most


def test_help_names_every_command_group_and_choice() -> None:
    overview, train = help.overview(), help.of("train")
    assert all(command in overview for command in help.COMMANDS)
    for file in help.config_dir().glob("*/*.yaml"):
        assert file.parent.name in train
        assert file.stem in train


def test_every_example_of_the_help_composes_or_names_a_run(mezzotint: Command) -> None:
    """An example that the command itself would refuse is worse than none."""
    for command in help.EXAMPLES.keys() - set(cli.OWN_WORDS):
        for line in help.EXAMPLES[command].splitlines():
            words = line.split("  ")[0].split()
            assert words[:2] == ["mezzotint", command]
            if not any(word.startswith("run=") for word in words):
                overrides = [word.partition(",")[0] for word in words[2:] if word != "-m"]
                assert mezzotint(command, *overrides, "--cfg", "job").code == 0, line


def test_help_shows_the_choices_of_own_folders(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text("_target_: mine.Network\n")
    assert "mine" in help.of("train", [str(tmp_path)])


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_no_words_and_help_are_the_same(words: list[str], mezzotint: Command) -> None:
    done = mezzotint(*words)
    assert done.code == 0
    assert "usage: mezzotint COMMAND" in done.out


def test_version(mezzotint: Command) -> None:
    assert mezzotint("--version").out == f"mezzotint {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "no command 'trian'; did you mean 'train'? (train, "),
        (["train", "schedul=linear"], "no key 'schedul'; did you mean 'schedule'?"),
        (
            ["train", "schedule=cosin"],
            "schedule=cosin: no such choice; did you mean 'cosine'? (cont",
        ),
        (["train", "experiment=digits_dpm"], "experiment=digits_dpm: no such choice; did you mean 'digits_ddpm'?"),
        (["train", "debug=tny"], "debug=tny: no such choice; did you mean 'tiny'?"),
        (
            ["check", "data.root=photos"],
            "data.root: Digits has no such argument (it takes shape, classes, flip, names, codec, conditions); ",
        ),
        (["check", "data.enlarge=true"], "data.enlarge: Digits has no such argument (it takes shape"),
        (["train", "network.widht=8"], "network.widht: UNet has no such argument; did you mean 'width'?"),
        (["train", "+network.widht=8"], "network.widht: UNet has no such argument; did you mean 'width'?"),
        (["train", "netwrok.width=8"], "no key 'netwrok.width'; did you mean 'network.width'?"),
        (["train", "+optimzer=3"], "optimzer: no such key; did you mean 'optimizer'?"),
        (["train", "data.shape=1,8,8"], "data.shape=1,8,8: a list is data.shape=[1,8,8]; a job for each needs -m; one"),
        (["train", "data.shape=(1,8,8)"], "data.shape=(1,8,8): a list is data.shape=[1,8,8];"),
        (["train", "metrics=fid,kid"], "metrics=fid,kid: a list is metrics=[fid,kid];"),
        (["train", "lr=1e-3"], "no key 'lr'; did you mean 'optimizer.lr'?"),
        (["train", "steps=9"], "no key 'steps'; did you mean 'schedule.steps' or 'grid.steps'?"),
        (["train", "network.width=wide"], "network.width: 'wide' is not int"),
        (["train", "network.resample=plane"], "network.resample: 'plane' is not one of 'plain', 'residual'"),
        (["train", "callbacks.lgo.every=5"], "callbacks.lgo: the chosen callbacks= has no 'lgo'; did you mean 'log'?"),
        (["train", "seed=abc"], "seed: 'abc' is not int"),
        (["train", "budget=0"], "budget=0: give 1 or more"),
        (["train", "name=a/b"], "name='a/b' must be usable as the name of a folder"),
        (["train", "images"], "'images' is not key=value"),
        (["train", "experiment=null"], "experiment=null: give the name of a choice, or leave it out (cifar10_ddpm"),
        (
            ["train", "hardware=cpu", "hardware.nodes=2"],
            "hardware.nodes=2: several nodes are started by srun or torchrun",
        ),
        (["train", "budget={a:1}"], "budget: {'a': 1} is not int"),
        (["train", "network=mlp", "network._target_=..Net"], "network._target_: '..Net' is not the dotted path"),
        (["train", "name=" + 201 * "x"], "name=xxxxxxxxxxxxxxxxxxxx...: 201 bytes are too many for a folder"),
        (["train", "-m", "name=a/b", "seed=0,1"], "name='a/b' must be usable as the name of a folder"),
        (["train", "-m", "paths.runs=deep/er", "seed=x,y"], "seed: 'x' is not int"),
        (["train", "-m", "--cfg", "job"], "-m and --cfg exclude each other"),
        (["train", "+seed=x"], "seed: 'x' is not int"),
        (["train", "run=nowhere"], "nowhere is not a run: no config.yaml in it"),
        (["sample"], "which run? Give run=DIR"),
        (["train", "data=image_folder"], "data.root: a value is needed; give it as data.root=VALUE"),
        (["train", "data=image_folder", "data.root=nothing"], "data: "),
        (["train", "data=npz", "data.root=x.npz"], "data.shape: a value is needed; give data.shape=VALUE"),
        (["train", "ema.halflife=-1"], "ema: halflife=-1"),
        (["train", "network.multipliers=[1,2,2,2,2]"], "network: 8 x 8 images do not fit 5 levels"),
        (["train", COSINE_TO_ZERO, "target=epsilon"], "target=epsilon cannot be decoded at t="),
        (
            ["train", "hardware=cpu", "hardware.devices=2", "batch_size=15"],
            "batch_size: batch_size=15 cannot be shared",
        ),
        (["train", "extractor=digits", "data=emoji", "network=unet_small"], "extractor: "),
        (["train", "network.classes=0"], "network: A network built with classes=0 takes no label"),
        (["train", "guidance=cfg", "data.classes=0"], "sampler: Classifier-free guidance needs a label"),
        (["train", "network._target_=no.such.Net"], "network._target_: cannot import 'no.such.Net'"),
        (["train", "-m", "network.widht=1,2"], "network.widht: UNet has no such argument; did you mean 'width'?"),
        (["train", "-m", "seed=x,y"], "seed: 'x' is not int"),
        (["check", "network.width=wide"], "network.width: 'wide' is not int"),
        (
            ["train", "metrics=[sfid]"],
            "metrics.sfid: FrechetDistance needs view=spatial, and extractor=digits",
        ),
        (
            ["check", "metrics=[sfid]"],
            "metrics.sfid: FrechetDistance needs view=spatial, and extractor=digits",
        ),
        (
            ["train", "extractor=inception", "extractor.weights=absent.pth"],
            "extractor: there are no Inception weights at absent.pth",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_fault_is_one_line_code_2_and_nothing_left_behind(
    words: list[str], said: str, mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.app.commands.train.train", lambda *_: pytest.fail("it was not refused"))
    done = mezzotint(*words)
    last = done.err.strip().splitlines()[-1]
    prefix = f"mezzotint {words[0]}: " if words[0] in help.COMMANDS else "mezzotint: "
    assert done.code == 2
    assert last.startswith(prefix + said)
    assert "Traceback" not in done.err
    assert list(home.iterdir()) == []


def test_all_faults_of_a_config_are_told_at_once(mezzotint: Command) -> None:
    done = mezzotint("train", "network.width=wide", "sampler.eta=some")
    assert done.code == 2
    assert "\n  network.width: 'wide' is not int\n  sampler.eta: 'some' is not float" in done.err


def test_images_that_do_not_divide_are_refused_before_anything_is_made(mezzotint: Command, home: Path) -> None:
    from PIL import Image

    (home / "folder").mkdir()
    for number in range(4):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(home / "folder" / f"{number}.png")
    words = ["train", "data=image_folder", "data.root=folder", "network.multipliers=[1,1,1,1]"]
    for shape, said in (
        ([], "data.shape=[3,24,24] fits it"),
        (["data.shape=[3,30,30]"], "30 x 30 images do not fit 4 levels"),
    ):
        done = mezzotint(*words, *shape)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert said in done.err
    assert [path.name for path in home.iterdir()] == ["folder"]


def test_a_typo_in_a_file_of_ones_own_is_seen(mezzotint: Command, home: Path) -> None:
    """Hydra's struct mode sees wrong keys on the command line alone."""
    (home / "own" / "experiment").mkdir(parents=True)
    (home / "own" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nname: mine\nbudget: 64\noptimzer: {lr: 1}\n"
    )
    done = mezzotint("train", "--config-dir", "own", "experiment=mine")
    assert (done.code, done.err) == (2, "mezzotint train: optimzer: no such key; did you mean 'optimizer'?\n")


def own(home: Path, file: str, text: str) -> None:
    place = home / "own" / file
    place.parent.mkdir(parents=True)
    place.write_text(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: mine\nbudget: 64\n", "experiment: the file begins with the line `# @package _global_`"),
        ("a: [\n", "while parsing a flow node"),
        (
            "# @package _global_\ndefaults: [override network: mlp]\n",
            "In 'experiment/mine': Could not override 'experiment/network",
        ),
        (
            "# @package _global_\ndefaults: [override /network: mpl]\n",
            "network=mpl: no such choice; did you mean 'mlp'?",
        ),
    ],
)
def test_a_file_of_ones_own_that_is_wrong_is_one_line(text: str, said: str, mezzotint: Command, home: Path) -> None:
    own(home, "experiment/mine.yaml", text)
    done = mezzotint("train", "--config-dir", "own", "experiment=mine")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith(f"mezzotint train: {said}")
    assert [path.name for path in home.iterdir()] == ["own"]


def test_a_config_of_something_else_is_no_run(mezzotint: Command, home: Path) -> None:
    (home / "config.yaml").write_text("paths: x\n")
    for command in ("train", "sample", "evaluate", "check"):
        done = mezzotint(command, "run=.")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert ". is not a run: its config.yaml is not the config of a run" in done.err


def test_a_home_that_is_nowhere_is_told(mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("MEZZOTINT_CACHE")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    done = mezzotint("train")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "Set HOME, or MEZZOTINT_RUNS, MEZZOTINT_DATA and MEZZOTINT_CACHE" in done.err


def test_an_empty_word_of_the_environment_is_none(mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_RUNS", "")
    assert mezzotint("runs").out == "no runs in runs\n"


def test_a_folder_that_is_gone_is_told(mezzotint: Command, home: Path) -> None:
    home.rmdir()
    done = mezzotint("train")
    assert (done.code, done.err) == (
        2,
        "mezzotint train: the working directory no longer exists: change to another one\n",
    )


def test_a_word_of_hydra_for_whole_tracebacks_changes_nothing(
    mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    done = mezzotint("train", "schedul=linear")
    assert (done.code, done.err) == (2, "mezzotint train: no key 'schedul'; did you mean 'schedule'?\n")


def test_own_classes_beside_the_caller_are_found(mezzotint: Command, home: Path) -> None:
    (home / "mine_to_train.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, shape):\n        super().__init__()\n        self.c = torch.nn.Conv2d(1, 1, 1)\n"
        "    def forward(self, x, time, label=None):\n        return self.c(x)\n"
    )
    (home / "own" / "network").mkdir(parents=True)
    (home / "own" / "network" / "mine.yaml").write_text("_target_: mine_to_train.Net\nshape: ${data.shape}\n")
    done = mezzotint("check", "--config-dir=own", "network=mine")
    assert (done.code, done.err) == (0, "")
    assert "2 parameters" in done.out


def test_tilde_is_the_home_folder_wherever_it_stands() -> None:
    assert arguments.at_home("paths.runs=~/runs") == f"paths.runs={Path.home()}/runs"
    assert arguments.at_home("name=a~b") == "name=a~b"


def test_flags_may_stand_anywhere() -> None:
    words = ["a=1", "-m", "b=2", "--config-dir", "own", "c=3", "--config-dir=x"]
    assert arguments.flags_first(words) == ["-m", "--config-dir", "own", "--config-dir=x", "a=1", "b=2", "c=3"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mezzotint tr", {"train"}),
        ("mezzotint ", set(help.COMMANDS)),
        ("mezzotint train guidance=non", {"guidance=none"}),
        ("mezzotint train network.wid", {"network.width="}),
        ("mezzotint train network._ta", set()),
    ],
)
def test_completion_knows_commands_groups_and_keys(
    line: str, expected: set[str], mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert set(mezzotint("-sc", "query=bash").out.split()) == expected


def test_check_says_that_weights_are_missing(mezzotint: Command) -> None:
    done = mezzotint("check", "extractor=inception", "extractor.weights=absent.pth")
    assert done.code == 0
    said = " ".join(done.out.replace("│", " ").split())
    assert "weights not here yet: extractor: there are no Inception weights at absent.pth. Give an" in said


def test_check_says_what_a_config_would_do_and_does_nothing(mezzotint: Command, home: Path) -> None:
    done = mezzotint("check", "experiment=cifar10_ddpm")
    assert done.code == 0
    assert "35,746,307 parameters" in done.out
    assert "800,000 steps of 128" in done.out
    assert "1000 network calls an image" in done.out
    assert list(home.iterdir()) == []


def test_a_fault_of_ours_keeps_its_traceback(mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("mezzotint.app.commands.runs.main", broken)
    done = mezzotint("runs")
    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err


def test_no_word_of_the_environment_stays_changed(mezzotint: Command) -> None:
    before = {**os.environ, "HYDRA_FULL_ERROR": "1"}
    mezzotint("check", *TINY)
    assert dict(os.environ) == before


# --------------------------------------------------------------------------------------------------------- runs, places


def composed(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return yaml.safe_load(done.out)


@pytest.mark.parametrize("name", ["a=b", "a b", "a,b", "[a]", "it's", "größe", "2024", "a=b, 'c' [d]/e", "{a}"])
def test_a_run_may_lie_anywhere(name: str, four_steps: Path, mezzotint: Command, home: Path) -> None:
    shutil.copytree(four_steps / "a", home / name)
    for place in (name, f"{name}/", str(home / name)):
        assert composed(mezzotint("sample", f"run={place}", "--cfg", "job"))["run"] == place.rstrip("/")


def test_a_link_is_what_it_leads_to_when_the_command_begins(trained: Path, mezzotint: Command) -> None:
    """Another run that is started meanwhile takes runs/latest, and half of this one's samples would be its own."""
    for place in ("runs/latest", "runs/latest/"):
        assert composed(mezzotint("sample", f"run={place}", "--cfg", "job"))["run"] == "runs/a"
    found = composed(mezzotint("evaluate", f"run={trained.parent}/latest", "--cfg", "job"))
    assert found["run"] == str(trained)


def test_what_lies_in_a_run_is_not_one_and_it_is_told_where_that_is(trained: Path, mezzotint: Command) -> None:
    for inside in ("checkpoints", "checkpoints/step-00000004.ckpt", "config.yaml"):
        done = mezzotint("sample", f"run=runs/a/{inside}")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"runs/a/{inside} is not a run: no config.yaml in it, but in runs/a above it" in done.err
    assert "a run is given as run=runs/a" in mezzotint("sample", "runs/a").err


def test_a_name_longer_than_files_may_have_is_one_line(mezzotint: Command) -> None:
    for words in (["sample", f"run={300 * 'x'}"], ["plot", "schedule=linear", f"out={300 * 'x'}.png"]):
        done = mezzotint(*words)
        assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_config_that_is_no_text_is_told(mezzotint: Command, home: Path) -> None:
    (home / "config.yaml").write_bytes(b"\xff\xfe\x00network: {}\n")
    done = mezzotint("sample", "run=.")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "config.yaml cannot be read" in done.err


def test_own_configs_may_lie_in_a_folder_with_any_sign_in_its_name(mezzotint: Command, home: Path) -> None:
    for folder in ("a=b, c [d]", "x+y"):
        (home / folder / "network").mkdir(parents=True)
        (home / folder / "network" / "mine.yaml").write_text("_target_: mine.Net\n")
        for words in ([f"--config-dir={folder}"], ["--config-dir", folder]):
            done = mezzotint("train", *words, "network=mine", "--cfg", "job")
            assert composed(done)["network"] == {"_target_": "mine.Net"}
        assert "did you mean 'mine'?" in mezzotint("train", *words, "network=mien").err
        assert "did you mean 'schedule'?" in mezzotint("train", *words, "schedul=linear").err


def test_check_refuses_what_train_would(trained: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, said in (
        ([*TINY, "name=a", "seed=1"], "runs/a holds another run: it differs in seed"),
        (["run=runs/a", "network.width=16"], "network.width cannot change in a run that is resumed"),
        (["run=runs/a", "checkpoint=2"], "checkpoint=2 is for sample and evaluate"),
    ):
        for command in ("train", "check"):
            done = mezzotint(command, *words)
            assert (done.code, said in done.err) == (2, True), (command, done.err)
    monkeypatch.setattr("mezzotint.app.commands.check.find_micro_batch", lambda *_: None)
    done = mezzotint("check", *TINY, "name=a", "hardware.micro_batch=find")
    assert done.code == 0, done.err


def test_a_key_that_another_command_takes_is_not_offered_for_itself(mezzotint: Command) -> None:
    assert mezzotint("stats", "sampler=ddim").err == "mezzotint stats: no key 'sampler'\n"


def test_the_help_of_a_command_offers_what_it_takes() -> None:
    stats, evaluate, sample = (help.of(command) for command in ("stats", "evaluate", "sample"))
    assert "out=FILE.npz" in stats
    assert "cifar100" in stats
    for word in ("experiment=", "sampler", "run=", "budget", "-m "):
        assert word not in stats
    assert "out=FILE.json" in evaluate
    assert "images=PATH" in evaluate
    assert "save=none|png|npz|npy" in sample
    for word in ("save=", "label=", "budget=", "init="):
        assert word not in evaluate
    assert "budget=" not in sample


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("epochs=3", "budget=N"),
        ("bs=8", "batch_size=N"),
        ("batch=8", "batch_size=N"),
        ("device=cuda", "hardware=gpu"),
        ("gpus=2", "hardware=gpus"),
        ("lr=0.1", "optimizer.lr"),
        ("steps=3", "grid.steps"),
        ("num_steps=3", "grid.steps"),
        ("cfg=3", "guidance=cfg"),
        ("out_dir=x", "paths.runs"),
    ],
)
def test_words_of_other_programs_lead_to_ours(word: str, meant: str, mezzotint: Command) -> None:
    done = mezzotint("check", word)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert meant in done.err


def test_help_of_a_choice_shows_its_keys_and_of_a_group_every_choice(mezzotint: Command, tmp_path: Path) -> None:
    shown = mezzotint("train", "data=image_folder", "--help").out
    assert "held_out: 0.05                     # fraction held out" in shown
    listed = mezzotint("train", "sampler=", "--help").out
    assert all(choice in listed for choice in help.choices(help.config_dir() / "sampler"))
    assert "deterministic at eta 0" in listed
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text("# two layers\n_target_: mine.Network\nwidth: 3  # of both\n")
    assert "two layers" in mezzotint("train", "--config-dir", str(tmp_path), "network=", "--help").out
    assert "# of both" in mezzotint("train", "--config-dir", str(tmp_path), "network=mine", "--help").out


def test_every_group_and_choice_of_the_help_has_a_word_of_explanation() -> None:
    folders = {file.parent.name for file in help.config_dir().glob("*/*.yaml")}
    assert folders == help.TITLES.keys()
    assert all(help.remark(file) for file in help.config_dir().glob("*/*.yaml"))


@pytest.mark.parametrize("command", ["report", "compare", "runs", "sweep", "sync"])
def test_help_of_what_is_no_job_is_its_own(command: str) -> None:
    assert "experiment=" not in help.of(command)


def test_slurm_that_is_not_here_is_told(mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(home))
    done = mezzotint("train", "-m", "seed=0,1", *TINY, "hydra/launcher=slurm", "hardware.devices=1")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "there is no srun here" in done.err
