"""Words that were renamed are refused with the words of today, and never silently taken for something else."""

from pathlib import Path

import pytest

from .conftest import Command

WORDS = {
    "weight=plain": "loss_weight=constant",  # a group, and its choice
    "times=uniform": "time_distribution=uniform",
    "callbacks=quiet": "callbacks=minimal",  # a choice
    "guidance=auto": "guidance=clip_epsilon",
    "metrics=[frechet,kernel]": "metrics=[fid,kid]",
    "look=0.5": "evaluation_share=0.5",  # a key of the top level
    "metrics.frechet=null": "metrics.fid=null",  # the name of one of several nodes
    "callbacks.judge.n=100": "callbacks.sample_metrics.n=100",
    "sampler.churn=30": "sampler.s_churn=30",  # an argument
    "schedule.first=0.001": "schedule.beta_start=0.001",
}


@pytest.mark.parametrize("word", WORDS)
def test_a_renamed_word_gets_its_line(word: str, mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", word)
    assert (done.code, done.out) == (2, "")
    assert f"{word}: this is now {WORDS[word]}" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("group", "old", "new"),
    [
        ("schedule", "mezzotint.diffusion.Rectified", "mezzotint.diffusion.RectifiedFlowSchedule"),
        ("loss_weight", "mezzotint.diffusion.Plain", "mezzotint.diffusion.ConstantWeight"),
        ("extractor", "mezzotint.metrics.Clip", "mezzotint.metrics.CLIP"),
    ],
)
def test_a_config_of_the_users_own_that_names_an_old_class_is_told_the_new_one(
    group: str, old: str, new: str, mezzotint: Command, home: Path
) -> None:
    (home / "mine" / group).mkdir(parents=True)
    (home / "mine" / group / "mine.yaml").write_text(f"_target_: {old}\n")
    done = mezzotint("train", "--config-dir", "mine", f"{group}=mine", "debug=tiny", "hardware=cpu")
    assert done.code == 2
    assert f"it is now {new}" in done.err
    assert [path.name for path in home.iterdir()] == ["mine"]
