"""Config groups are listed once: the base classes of their components say which there are, and the rest agrees."""

import re
from dataclasses import fields

import yaml

from mezzotint.app import help
from mezzotint.app.config.job import Job
from mezzotint.instantiate.build import NAMED
from mezzotint.instantiate.trust import NEEDED


def test_every_group_is_a_field_a_folder_a_title_and_a_default() -> None:
    groups = set(NEEDED)
    assert {item.name for item in fields(Job) if re.match(r"dict\[.*typing.Any\]", str(item.type))} == groups
    assert {item.name for item in fields(Job) if str(item.type).startswith("dict[str, dict")} == set(NAMED)
    assert help.groups() == groups
    assert groups <= set(help.TITLES)
    defaults = yaml.safe_load((help.config_dir() / "mezzotint.yaml").read_text())["defaults"]
    assert groups <= {key for entry in defaults if isinstance(entry, dict) for key in entry}
