"""Words that nobody would type on purpose: one line and code 2, or done; never a traceback, and nothing left behind."""

import random
from pathlib import Path

import pytest

from ..conftest import Command

GIVEN = [
    "~",
    "~=1",
    "~schedule=1",
    "~schedule",
    "~metrics=[fid]",
    "~data=digits",
    "~callbacks.progress",
    "~sampler.zzz",
    "~seed",
    "~hydra/launcher",
    "hydra.run.dir=foo",
    "++hydra.run.dir=foo",
    "hydra.sweep.dir=foo",
    "hydra.output_subdir=x",
    "hydra.job.chdir=true",
    "hydra/job_logging=default",
    "hydra/launcher=nope",
    "hydra=1",
    "hydra.mode=X",
    'hydra.sweeper.params={seed:"1,2"}',
    "sampler@foo=ddim",
    "+sampler@foo=ddim",
    "sampler@=ddim",
    "sampler:foo=1",
    "+x=1",
    "++x=1",
    "+x.y=1",
    "sampler={}",
    "sampler=[]",
    "sampler=1.5",
    "seed=${x}",
    "seed=${oc.env:NOPE}",
    "name=${name}",
    "sampler.eta=${sampler.eta}",
    "seed=shuffle(1)",
    "seed.x=1",
    "paths.runs={a:b}",
    "callbacks=null",
    "data.shape=[1,2",
    "seed=99999999999999999999",
    "sampler..eta=1",
    ".eta=1",
    "data.shape[0]=2",
    "_target_=os.system",
    "defaults=[x]",
    "++defaults=[x]",
    "--config-name=nope",
    "--config-name=standalone",
    "--experimental-rerun=x",
    "trust=[",
    "*=1",
]
SIGNS = "~+@/.:=,[]{}()'\"\\$*\x00\x1b é1a"


def mangled(seed: int) -> str:
    """A word with a few signs put in, left out or doubled."""
    source = random.Random(seed)
    word = source.choice(["sampler.eta=0.5", "schedule=linear", "seed=3", "metrics=[fid]", "paths.runs=r", "n=8"])
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(word) + 1)
        word = source.choice(
            [word[:at] + source.choice(SIGNS) + word[at:], word[:at] + word[at + 1 :], word + word[:at]]
        )
    return word or "="


@pytest.mark.parametrize("word", [*GIVEN, *map(mangled, range(60))])
def test_no_word_is_a_traceback(word: str, mezzotint: Command, home: Path) -> None:
    before = sorted(home.iterdir())
    done = mezzotint("check", "debug=tiny", "hardware=cpu", word)
    assert done.code in (0, 2), done.err
    assert "Traceback" not in done.err
    assert (done.code == 0) == (done.err == "")
    assert not done.err or done.err.startswith("mezzotint check: ")
    assert sorted(home.iterdir()) == before
