"""Samplers under the names that other programs give them: each is told as exactly the same one here, or as absent."""

import pytest

from mezzotint.app.config.other_names import NONE, SAMPLERS, closest
from mezzotint.app.config.validate_arguments import check_words
from mezzotint.app.help import choices, config_dir
from mezzotint.errors import ConfigError

KNOWN = choices(config_dir() / "sampler")


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("k_euler_a", "euler_a"),
        ("Euler a", "euler_a"),
        ("k_heun", "heun_edm"),
        ("dpm++ 2m karras", "dpmpp_2m grid=karras"),
        ("DPM++ 3M SDE Exponential", "dpmpp_3m_sde grid=exponential"),
        ("DPM++ 2S a", "dpmpp_2s_ancestral"),
        ("DPM2 a Karras", "dpm_2_ancestral grid=karras"),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde"),
        ("sample_dpmpp_2m", "dpmpp_2m"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m"),
        ("DPMSolverSDEScheduler", "dpmpp_sde"),
        ("DPMSolverSinglestepScheduler", "dpmpp_2s"),
        ("EulerDiscreteScheduler", "euler"),
        ("EulerAncestralDiscreteScheduler", "euler_ancestral"),
        ("HeunDiscreteScheduler", "heun_edm"),
        ("KDPM2DiscreteScheduler", "dpm_2"),
        ("KDPM2AncestralDiscreteScheduler", "dpm_2_ancestral"),
        ("LMSDiscreteScheduler", "lms"),
        ("PNDMScheduler", "pndm"),
        ("euler_cfg_pp", "ddim guidance=cfg_pp"),
        ("euler_ancestral_cfg_pp", "euler_ancestral guidance=cfg_pp"),
        ("dpmpp_2m_cfg_pp", "dpmpp_2m guidance=cfg_pp"),
        ("DPM++ 2M CFG++", "dpmpp_2m guidance=cfg_pp"),
        ("dpmpp_2s_ancestral_cfg_pp", "dpmpp_2s_ancestral guidance=cfg_pp"),
        ("res_multistep_cfg_pp", "res_multistep guidance=cfg_pp"),
        ("gradient_estimation_cfg_pp", "gradient_estimation guidance=cfg_pp"),
        ("DDIMScheduler", "ddim"),
        ("DDPMScheduler", "ddpm"),
        ("LCMScheduler", "lcm"),
        ("UniPCMultistepScheduler", "unipc"),
        ("DEISMultistepScheduler", "dpm_solver_3m_corrected sampler.points=2"),
    ],
)
def test_a_name_from_elsewhere_is_told_as_ours(said, ours):
    assert closest("sampler", said, KNOWN) == f"; here that is sampler={ours}"


@pytest.mark.parametrize("said", ["ipndm_v", "heunpp2", "dpmpp_3m_sde_cfg_pp", "TCDScheduler"])
def test_what_is_absent_is_told_as_absent(said):
    assert closest("sampler", said, KNOWN) == f"; {said} is not among the samplers here, under no other name either"


@pytest.mark.parametrize("said", ["dpm_adaptive", "DPM fast", "sample_dpm_adaptive"])
def test_what_comes_nearest_to_an_absent_one_is_told(said):
    told = closest("sampler", said, KNOWN)
    assert told.startswith(f"; {said} is not among the samplers here, under no other name either: it")
    assert "dpm_solver_3s" in told
    assert "dpm_solver_3s" in KNOWN


def test_every_name_leads_to_a_sampler_that_there_is():
    assert {found.partition(" ")[0] for found in SAMPLERS.values() if found != NONE} <= {*KNOWN}


def test_misspelt_names_are_still_told():
    assert closest("sampler", "dddim", KNOWN) == "; did you mean 'ddim'?"
    assert closest("schedule", "euler_a", ["cosine"]) == ""


@pytest.mark.parametrize("word", ["sampler=dpm++ 2m karras", "sampler='dpm++ 2m karras'"])
def test_names_with_spaces_are_told_before_hydra_reads_them(word):
    with pytest.raises(ConfigError, match="here that is sampler=dpmpp_2m grid=karras"):
        check_words([word], False)
