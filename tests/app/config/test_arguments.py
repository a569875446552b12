"""The words of a command, judged and put in order before Hydra sees them."""

from pathlib import Path

import pytest

from mezzotint.app.config.arguments import addable, flags_first, follows, own_configs, primary, readable, value
from mezzotint.app.config.validate_arguments import check_words
from mezzotint.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("network.resample=residual", "++network.resample=residual"),
        ("+network.width=8", "++network.width=8"),
        ("metrics.weights=a=b.pth", "++extractor.weights=a=b.pth"),
        ("metrics.kid.size=9", "++metrics.kid.size=9"),
        ("+seed=1", "++seed=1"),
        ("+experiment=digits_edm", "experiment=digits_edm"),
        ("+sampler=ddim", "sampler=ddim"),
        ("+preset=mine", "+preset=mine"),  # a group of the user's own
        ("seed=1", "seed=1"),
        ("network.width", "network.width"),
        ("~callbacks.log", "~callbacks.log"),
    ],
)
def test_a_key_of_ours_may_be_said_with_and_without_a_plus(word: str, told: str) -> None:
    assert addable(word) == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a=1", "--info"], ["--info=all", "a=1"]),
        (["--info", "a=1"], ["--info=all", "a=1"]),
        (["-i", "defaults", "a=1"], ["-i", "defaults", "a=1"]),
        (["a=1", "--cfg", "job", "-m"], ["--cfg", "job", "-m", "a=1"]),
    ],
)
def test_what_is_asked_for_stays_with_its_option(words: list[str], told: list[str]) -> None:
    assert flags_first(words) == told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["=5"], "'=5' is not key=value"),
        (["++network.width"], "'++network.width' is not key=value"),
        (["--cfg"], "--cfg: it takes job, hydra, all"),
        (["--cfg", "jbo"], "--cfg jbo: it takes job"),
        (["--cfg=jbo"], "--cfg jbo: it takes job"),
        (["--config-dir"], "--config-dir: it takes a value"),
        (["--config-dir", "-m"], "--config-dir -m: it takes a value"),
        (["-m", "--cfg", "job"], "-m and --cfg exclude each other"),
        (["--info=all", "-c", "job"], "-c and --info exclude each other"),
        (["--resolve"], "--resolve changes what --cfg job shows"),
        (["run="], "run=: give the folder of a run"),
        (["name=a/b"], "name='a/b' must be usable as the name of a folder"),
        (["experiment="], "experiment=: give the name of a choice, or leave it out (cifar10_ddpm, "),
        (["debug=null"], "debug=null: give the name of a choice, or leave it out (tiny)"),
        (["experiment=digits_edm,digits_flow"], "experiment=digits_edm,digits_flow: one experiment at a time"),
        (["data=~/pictures"], "data=~/pictures: no such choice (array, cifar10, "),
        (["32,"], "'32,' is not key=value; a list is written without spaces"),
        (["seed=0,1,"], "seed=0,1,: a value is missing before or behind a comma"),
        (["++grid.steps=,5"], "grid.steps=,5: a value is missing"),
        (["--seed"], "no option --seed; give seed=VALUE"),
        (["--optimizer.lr"], "no option --optimizer.lr; give optimizer.lr=VALUE"),
        (["metrics=none"], "metrics=none: give the name of a choice: metrics=[] chooses nothing (cmmd, "),
        (["logger=null"], "logger=null: give the name of a choice: logger=none chooses nothing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_fault_is_told_in_our_own_terms(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_words(words, many=False)
    assert str(caught.value).startswith(said)


def test_a_folder_of_images_is_no_choice_but_can_be_given() -> None:
    with pytest.raises(ConfigError, match=r"a folder of images is data=image_folder data\.root=/srv/photos$"):
        check_words(["data=/srv/photos"], many=False)


def test_options_of_hydra_and_edits_pass() -> None:
    check_words(["-m", "--config-dir=x", "~callbacks.log", "++a.b=1", "sampler=ddim,heun"], many=True)
    check_words(["--cfg", "job", "--resolve", "-p", "network"], many=False)
    check_words(["metrics=[fid,kid]", "logger=csv", "experiment=digits_edm", "data.shape=[1,8,8]"], many=False)
    check_words(["experiment=digits_edm,digits_flow", "network=own/a,own/b"], many=True)


def test_a_file_that_hydra_would_pass_over_is_told(tmp_path: Path) -> None:
    """Its search finds our own file first."""
    for name, text in (("network/unet", "_target_: mine.Net\n"), ("network/mine", "_target_: mine.Net\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"unet\.yaml would not be used: mezzotint has a network=unet itself"):
        check_words([], many=False, own=[str(tmp_path)])
    (tmp_path / "network" / "unet.yaml").unlink()
    (tmp_path / "mezzotint.yaml").write_text("seed: 5\n")
    with pytest.raises(ConfigError, match=r"mezzotint has a mezzotint\.yaml itself"):
        check_words([], many=False, own=[str(tmp_path)])
    (tmp_path / "mezzotint.yaml").unlink()
    check_words(["network=mine"], many=False, own=[str(tmp_path)])


def test_words_are_asked_whichever_way_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert value("run", ["run=a", "++run=b"]) == "b"
    assert value("run", ["run=a", "run=null"]) == ""
    assert value("run", ["run='a=b'"]) == value("run", ['run="a=b"']) == "a=b"
    places = [str(tmp_path / name) for name in "abcd"]
    assert own_configs(["--config-dir", "a", "-cd", "b", "x=1", "--config-dir=c", "-cd=d"]) == places


@pytest.mark.parametrize(
    ("command", "words", "name"),
    [
        ("train", [], "mezzotint"),
        ("train", ["run=a"], "_run_"),
        ("sample", ["save=png"], "mezzotint"),
        ("evaluate", ["images=drawn"], "standalone"),
        ("evaluate", ["save=png", "run=a"], "_run_"),
        ("stats", ["run=a"], "standalone"),
    ],
)
def test_what_the_words_change(command: str, words: list[str], name: str) -> None:
    assert primary(command, words) == name


def test_images_of_a_folder_are_judged_without_a_run() -> None:
    with pytest.raises(ConfigError, match="run= and images= exclude each other"):
        primary("evaluate", ["run=a", "images=drawn"])


@pytest.mark.parametrize("path", ["/x/a=b", "/x/o'neil", "/mnt/jörg/bilder", "photos (1)", "a\\'b", "end=\\", "a#b"])
def test_a_path_may_hold_what_hydra_would_stumble_over(path: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    word = readable(f"++data.root={path}")
    assert OverridesParser.create().parse_override(word).value() == path


@pytest.mark.parametrize(
    "word",
    [
        "a.b=[1,2]",
        "a=x,y",
        "a=range(1,3)",
        "a={b:1}",
        "a='q,r'",
        "a=null",
        "a=[x",
        "a=${b}",
        "--cfg=job",
        "a",
        "~a.b",
        "a=",
        "a=0,1,",
        "run=runs/a=b,c",
    ],
)
def test_what_hydra_can_read_stays_as_it_is(word: str) -> None:
    assert readable(word) == word


@pytest.mark.parametrize("name", ["5", "1e5", "2026.01", "true"])
def test_a_name_may_be_a_number(name: str) -> None:
    assert readable(f"name={name}") == f"name='{name}'"
    assert readable(f"seed={name}") == f"seed={name}"


@pytest.mark.parametrize("key", ["++data.root", "reference", "images", "++paths.runs"])
def test_a_folder_may_be_called_by_a_number(key: str) -> None:
    assert readable(f"{key}=2024") == f"{key}='2024'"


def test_what_follows_an_option_is_its_value() -> None:
    assert follows("--config-dir", "a=b")
    assert follows("-c", "job")
    assert not follows("--info", "a=b")
    assert not follows("-m", "a=b")


def test_a_run_without_its_key_is_told_how_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match=rf"is not key=value; a run is given as run={tmp_path}$"):
        check_words([str(tmp_path)], many=False)
