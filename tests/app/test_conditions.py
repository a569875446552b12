"""Conditions from the command line: trained, drawn and evaluated by name, and refused before anything is made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.app import cli
from mezzotint.data import ImageFolder
from mezzotint.networks import TextCondition
from mezzotint.runs import RunDir

from .conftest import TINY, Command

VECTOR = "{_target_:mezzotint.networks.VectorCondition,size:2}"
TEXT = "{_target_:mezzotint.networks.TextCondition,length:4,vocabulary:64}"
LOW = "{_target_:mezzotint.networks.LowResolution,size:[1,4,4]}"
DROPPED = ["objective.condition_dropout={all:0.1,y:0.1}"]
WORDS = [*TINY, "data=npz", "data.shape=[1,8,8]", "metrics=[]", f"data.conditions={{y:{VECTOR},text:{TEXT},low:{LOW}}}"]


def archive(folder: Path, count: int = 64, **changes) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (count, 8, 8), np.uint8),
        "y": rng.normal(size=(count, 2)).astype(np.float32),
        "text": np.array([f"number {i}" for i in range(count)]),
    }
    np.savez(folder / "data.npz", **{name: array for name, array in (arrays | changes).items() if array is not None})
    return folder / "data.npz"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of four steps: `one` undisturbed, `two` stopped after two steps and resumed."""
    folder = tmp_path_factory.mktemp("conditions")
    file = archive(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DATA", "CACHE"):
            patch.setenv(f"MEZZOTINT_{name}", str(folder / name.lower()))
        words = [*WORDS, *DROPPED, f"data.root={file}", "guidance=cfg", "guidance.conditions=[y]", "ema=none"]
        words += ["optimizer.decay=constant", "optimizer.warmup=16"]  # so that the budget changes no step
        assert cli.main(["train", *words, "name=one"]) == 0
        assert cli.main(["train", *words, "name=two", "budget=32"]) == 0
        assert cli.main(["train", "run=runs/two", "budget=64"]) == 0
    return folder / "runs"


@pytest.fixture
def trained(runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(runs.parent)
    return runs / "one"


def test_a_resumed_run_has_the_weights_of_an_undisturbed_one(runs: Path) -> None:
    one, two = (
        torch.load(RunDir(runs / name).checkpoint(4), weights_only=True)["state_dict"] for name in ("one", "two")
    )
    assert any("conditions" in key for key in one)
    assert set(one) == set(two)
    assert all(torch.equal(one[key], two[key]) for key in one)


def drawn(mezzotint: Command, run: Path, *words: str) -> np.ndarray:
    out = run.parent.parent / "-".join(["out", *map(str, map(abs, map(hash, words)))])
    done = mezzotint("sample", f"run={run}", "save=npz", f"out={out}", "n=6", "guidance=none", *words)
    assert done.code == 0, done.err
    (file,) = out.glob("*.npz")
    with np.load(file) as held:
        return held["images"]


def test_samples_have_the_conditions_of_held_out_examples_or_those_that_are_given(
    trained: Path, mezzotint: Command, tmp_path: Path
) -> None:
    held_out = drawn(mezzotint, trained)
    assert np.array_equal(held_out, drawn(mezzotint, trained))
    given = drawn(mezzotint, trained, "condition={y:[[0.5,1],[3,-3]],text:number 3}")
    assert not np.array_equal(held_out, given)
    rows = {
        "y": np.array([[0.5, 1], [3, -3]], np.float32),
        "text": np.array(["number 3"] * 2),
        "low": np.zeros((2, 1, 4, 4), np.float32),
    }
    np.savez(tmp_path / "rows.npz", **rows)
    of_file = drawn(mezzotint, trained, f"condition={tmp_path / 'rows.npz'}")
    assert not np.array_equal(of_file, given)  # which has no image
    assert np.array_equal(of_file, drawn(mezzotint, trained, f"condition={tmp_path / 'rows.npz'}"))


def test_samples_lie_beside_their_conditions_which_can_be_drawn_again(
    trained: Path, mezzotint: Command, tmp_path: Path
) -> None:
    first = ("sample", f"run={trained}", "n=6", "guidance=none")
    assert mezzotint(*first, "save=npz", f"out={tmp_path / 'a'}").code == 0
    (file,) = (tmp_path / "a").glob("*.npz")
    with np.load(file) as held:
        content = dict(held)
    assert {name: array.shape for name, array in content.items()} == {
        "images": (6, 8, 8, 1),
        "y": (6, 2),
        "text": (6,),
        "low": (6, 1, 4, 4),
    }
    assert all(text.startswith("number ") for text in content["text"])
    assert mezzotint(*first, "save=npz", f"out={tmp_path / 'b'}", f"condition={file}").code == 0
    (again,) = (tmp_path / "b").glob("*.npz")
    with np.load(again) as held:
        assert set(held) == set(content)
        assert all(np.array_equal(held[name], content[name]) for name in content)
    words = ("save=png", f"out={tmp_path / 'c'}", "condition={text:[number 1,other]}")
    assert [mezzotint(*first, *words).code, mezzotint(*first, *words).code] == [0, 0]
    (folder,) = (path for path in (tmp_path / "c").iterdir() if path.is_dir())
    data = ImageFolder(root=str(folder), shape=(1, 8, 8), conditions={"text": TextCondition(4, vocabulary=64)})
    assert data.stored_conditions("all", ("text",))["text"].rows(np.arange(3)).tolist() == [
        "number 1",
        "other",
        "number 1",
    ]
    with np.load(folder / "conditions.npz") as held:
        assert set(held) == {"files", "text"}  # the others were null


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("condition={z:1}", "condition=z: this run has no such condition; it has y, text, low"),
        ("condition={y:1}", "condition.y: it has the shape [] and not that of 2 numbers"),
        ("condition={y:[[1,2],[1,2,3]]}", "condition.y: it has the shape [3] and not that of 2 numbers"),
        ("condition={y:[1]}", "condition.y: it has the shape [1] and not that of 2 numbers"),
        ("condition={label:1}", "it has y, text, low; label= gives the class"),
        ("condition={text:3}", "condition.text: 3 is not a text of at most 4 words"),
        ("condition=data.npz", "its conditions have different numbers of rows: 64 of y, 64 of text, 3 of low"),
        ("condition=other.npz", "other.npz holds none of y, text, low: it has a"),
        ("condition=none.npz", "none.npz does not exist: give an .npz, .safetensors or .jsonl file"),
    ],
)
def test_a_condition_that_cannot_be_drawn_is_refused(
    trained: Path, mezzotint: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    archive(tmp_path, low=np.zeros((3, 1, 4, 4), np.float32))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    monkeypatch.chdir(tmp_path)
    done = mezzotint("sample", f"run={trained}", word)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


def test_samples_of_some_conditions_are_conditions_again(trained: Path, mezzotint: Command, tmp_path: Path) -> None:
    """The file leaves out those that were null, and they are null again."""
    first, again = tmp_path / "first.npz", tmp_path / "again.npz"

    def to(file: Path) -> tuple[str, str]:
        return f"out={file.with_suffix('.png')}", "save=npz"

    done = mezzotint("sample", f"run={trained}", "n=2", "condition={text:[red,blue]}", *to(first))
    assert done.code == 0, done.err
    done = mezzotint("sample", f"run={trained}", "n=2", f"condition={first}", *to(again))
    assert done.code == 0, done.err
    with np.load(first) as one, np.load(again) as two:
        assert set(one) == set(two)
        assert all((one[name] == two[name]).all() for name in one)


def test_evaluate_and_train_take_no_condition(trained: Path, mezzotint: Command) -> None:
    said = "condition= is for sample: samples are evaluated with the conditions of the held-out examples"
    assert said in mezzotint("evaluate", f"run={trained}", "condition={y:[0,0]}").err
    assert "condition= is for sample" in mezzotint("train", *TINY, "condition={y:[0,0]}").err


def test_samples_are_evaluated_beside_the_examples_of_their_conditions(trained: Path, mezzotint: Command) -> None:
    done = mezzotint("evaluate", f"run={trained}", "n=6", "metrics=[psnr,retrieval]", "metrics.retrieval.candidates=2")
    assert done.code == 0, done.err
    assert {line.split()[0] for line in done.out.splitlines()[:3]} == {
        "psnr_6",
        "psnr_6_bicubic_low",
        "retrieval_digits_6",
    }
    refused = mezzotint("evaluate", f"run={trained}", "n=6", "metrics=[ssim]")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "SSIM needs images or volumes of at least 11 pixels a side, and these are [1, 8, 8]" in refused.err


def test_a_run_with_conditions_may_end_with_paired_metrics(mezzotint: Command, home: Path) -> None:
    done = mezzotint(
        "train", "experiment=emoji_superres", "debug=tiny", "hardware=cpu", "metrics=[psnr,ssim]", "name=a"
    )
    assert done.code == 0, done.err
    assert "bicubic_low" in done.out


def test_a_text_is_drawn_by_its_sentence_vector(mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", "experiment=emoji_sentences", "debug=tiny", "hardware=cpu", "metrics=[]", "name=a")
    assert done.code == 0, done.err
    drawn = mezzotint("sample", "run=runs/a", "condition={text:[blue heart,hammer]}", "n=2")
    assert drawn.code == 0, drawn.err
    with Image.open(home / drawn.out.splitlines()[0]) as picture:
        assert picture.text["foot"] == "12"  # pixels for the texts, one line each
    refused = mezzotint("sample", "run=runs/a", "condition={text:blue hart}", "n=2")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "'blue hart' is not the name of an emoji in Unicode" in refused.err


def test_captions_of_a_folder_are_encoded_by_a_class_of_ones_own(mezzotint: Command, home: Path) -> None:
    """With `trust` or --config-dir, as every class of one's own; the same vectors may also be stored."""
    (home / "mine").mkdir()
    (home / "mine" / "encoder.py").write_text(
        "class Lengths:\n"
        "    def __call__(self, texts):\n"
        "        return [[len(text), len(text.split())] for text in texts]\n"
    )
    (home / "photos").mkdir()
    for i in range(8):
        Image.fromarray(np.full((8, 8, 3), 30 * i, np.uint8)).save(home / "photos" / f"{i}.png")
    lines = [f'{{"file": "{i}.png", "text": "{"word " * i}end"}}' for i in range(8)]
    (home / "photos" / "captions.jsonl").write_text("\n".join(lines))
    kind = "_target_:mezzotint.networks.SentenceCondition,size:2,encoder:{_target_:mine.encoder.Lengths}"
    words = [*TINY, "data=image_folder", "data.root=photos", "data.shape=[3,8,8]", "data.classes=0", "metrics=[]"]
    words += ["data.held_out=0.25", f"data.conditions={{text:{{{kind}}}}}"]
    done = mezzotint("train", *words, "name=a", "trust=[mine]")
    assert done.code == 0, done.err
    assert mezzotint("sample", "run=runs/a", "condition={text:two words}", "n=2", "trust=[mine]").code == 0
    refused = mezzotint("sample", "run=runs/a", "condition={text:two words}", "n=2")
    assert refused.code == 2
    assert "mine" in refused.err


def test_changed_values_are_noticed_when_a_run_goes_on_and_when_it_is_evaluated(mezzotint: Command, home: Path) -> None:
    words = [*TINY, "data=npz", "data.shape=[1,8,8]", "metrics=[]", f"data.conditions={{y:{VECTOR}}}"]
    file = archive(home)
    assert mezzotint("train", *words, f"data.root={file}", "name=a", "budget=32").code == 0
    evaluate = ("evaluate", "run=runs/a", "n=4", "metrics=[psnr]")
    assert [mezzotint(*evaluate).code, mezzotint(*evaluate).code] == [0, 0]
    assert len(list((home / "runs/a/evaluation").iterdir())) == 1
    archive(home, y=np.ones((64, 2), np.float32))
    assert mezzotint(*evaluate).code == 0
    assert len(list((home / "runs/a/evaluation").iterdir())) == 2
    done = mezzotint("train", "run=runs/a", "budget=64")
    assert done.code == 0, done.err
    assert "the conditions of the training examples changed since this run began" in done.out + done.err


def test_paired_metrics_are_refused_for_a_run_without_conditions(mezzotint: Command, home: Path) -> None:
    refused = mezzotint("train", *TINY, "metrics=[psnr]", "name=never")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "metrics.psnr: PSNR needs the true example of each sample, which a run with conditions has" in refused.err


REFUSED = {
    "unused": (
        ["network=mine.plain.Plain"],
        {},
        "the data give the condition 'y', and the network Plain does not use it: leave it out of data.conditions",
    ),
    "missing": (["network.conditions={z:" + VECTOR + "}"], {}, "the data give the condition 'y', and the network UNet"),
    "another kind": (
        [
            "network.conditions={y:{_target_:mezzotint.networks.VectorCondition,size:3},text:"
            + TEXT
            + ",low:"
            + LOW
            + "}"
        ],
        {},
        "the condition 'y' is 2 numbers in data.conditions and 3 numbers in network.conditions",
    ),
    "further": (
        ["network.conditions={y:" + VECTOR + ",text:" + TEXT + ",low:" + LOW + ",z:" + TEXT + "}"],
        {},
        "network.conditions has 'z', which the data do not give: add data.conditions.z",
    ),
    "never learned": (
        ["guidance=cfg", "guidance.scale=2"],
        {},
        "guidance compares with what the network says without a y, which it never learns with "
        "objective.condition_dropout={y:0}",
    ),
    "one never learned": (
        ["guidance=cfg_compositional", "guidance.scales={y:2,text:3}", "objective.condition_dropout={y:0.1}"],
        {},
        "without a text, which it never learns",
    ),
    "rate": (["objective.condition_dropout={z:0.1}"], {}, "there is no condition 'z': low, text, y is given"),
    "augmented": (["objective=augmented", "network.augmentation=9"], {}, "not their condition 'low'"),
    "name": ([f"data.conditions={{image:{VECTOR}}}"], {}, "'image' cannot be the name of a condition"),
    "length": ([], {"y": np.zeros((5, 2))}, "has 5 values for 64 images"),
    "NaN": ([], {"y": np.full((64, 2), np.nan)}, "it is NaN or infinite in 58 of 58 examples, first in number 0"),
    "absent": ([], {"y": None}, "has no array 'y'"),
}


@pytest.mark.parametrize("case", [case for case in REFUSED if case != "unused"])
def test_what_does_not_fit_is_refused_before_training(mezzotint: Command, home: Path, case: str) -> None:
    words, arrays, said = REFUSED[case]
    done = mezzotint("train", *WORDS, f"data.root={archive(home, **arrays)}", *words, "name=never")
    assert done.code == 2
    assert said in done.err
    assert not (home / "runs" / "never" / "checkpoints").exists()


def test_a_network_of_ones_own_takes_a_condition_by_its_argument_or_is_refused(mezzotint: Command, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "plain.py").write_text(
        "from torch import nn\n\n\n"
        "class Plain(nn.Module):\n"
        "    def __init__(self, shape, width=8):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Conv2d(1, 1, 1)\n\n"
        "    def forward(self, x, time, label=None):\n"
        "        return self.layer(x)\n\n\n"
        "class Taking(Plain):\n"
        "    def forward(self, x, time, label=None, y=None):\n"
        "        return self.layer(x) + (0 if y is None else y.nan_to_num().sum(1)[:, None, None, None])\n"
    )
    file = archive(home)
    words = [
        *TINY,
        "data=npz",
        "data.shape=[1,8,8]",
        "metrics=[]",
        f"data.root={file}",
        f"data.conditions={{y:{VECTOR}}}",
    ]
    for kind in ("Plain", "Taking"):
        (home / "mine" / "network").mkdir(exist_ok=True)
        (home / "mine" / "network" / f"{kind.lower()}.yaml").write_text(
            f"# mine\n_target_: mine.plain.{kind}\nshape: ${{data.shape}}\nwidth: 8\n"
        )
    refused = mezzotint("train", "--config-dir", "mine", *words, "network=plain")
    assert REFUSED["unused"][2] in refused.err
    assert mezzotint("train", "--config-dir", "mine", *words, "network=taking").code == 0


@pytest.mark.parametrize("more", [(), ("hardware.micro_batch=find",)])
def test_check_times_a_step_with_the_conditions_of_the_data(more: tuple[str, ...], mezzotint: Command) -> None:
    done = mezzotint("check", "experiment=emoji_text", "debug=tiny", "hardware=cpu", *more)
    assert done.code == 0, done.err
    assert ("measured: a step of" in done.out) or more
