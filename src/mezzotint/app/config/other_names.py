"""Names of samplers in other programs (k-diffusion, ComfyUI, AUTOMATIC1111, diffusers), each to what it is here."""

import re
from collections.abc import Sequence

from mezzotint.instantiate.locate import did_you_mean

NONE = "none of ours"
SAMPLERS = {
    "euler_discrete": "euler",
    "flow_match_euler_discrete": "euler",
    "euler_ancestral_discrete": "euler_ancestral",
    "heun": "heun_edm",
    "heun_discrete": "heun_edm",
    "heunpp2": NONE,
    "dpm2": "dpm_2",
    "dpm2_a": "dpm_2_ancestral",
    "dpm_2_a": "dpm_2_ancestral",
    "dpm2_ancestral": "dpm_2_ancestral",
    "kdpm2_discrete": "dpm_2",
    "kdpm2_ancestral_discrete": "dpm_2_ancestral",
    "dpmpp_2s_a": "dpmpp_2s_ancestral",
    "dpmpp_3m": "dpmpp_2m sampler.points=3",
    "dpm_solver_multistep": "dpmpp_2m",
    "dpm_solver_singlestep": "dpmpp_2s",
    "dpm_solver_sde": "dpmpp_sde",
    "dpmsolver": "dpm_solver_2m",
    "dpmsolverpp": "dpmpp_2m",
    "dpm_solverpp": "dpmpp_2m",
    "edmdpm_solver_multistep": "dpmpp_2m",
    "ipndm_v": NONE,
    "re_paint": NONE,
    "score_sde_ve": NONE,
    "dpm_fast": NONE,
    "dpm_adaptive": NONE,
    "euler_cfg_pp": "ddim guidance=cfg_pp",
    "euler_ancestral_cfg_pp": "euler_ancestral guidance=cfg_pp",
    "euler_a_cfg_pp": "euler_ancestral guidance=cfg_pp",
    "ddim_cfg_pp": "ddim guidance=cfg_pp",
    "dpmpp_2m_cfg_pp": "dpmpp_2m guidance=cfg_pp",
    "dpmpp_2s_ancestral_cfg_pp": "dpmpp_2s_ancestral guidance=cfg_pp",
    "dpmpp_2s_a_cfg_pp": "dpmpp_2s_ancestral guidance=cfg_pp",
    "res_multistep_cfg_pp": "res_multistep guidance=cfg_pp",
    "gradient_estimation_cfg_pp": "gradient_estimation guidance=cfg_pp",
    "lms_discrete": "lms",
    "uni_pc_multistep": "unipc",
    "unipc_bh1": "uni_pc",
    "unipc_bh2": "uni_pc_bh2",
    "deis_multistep": "dpm_solver_3m_corrected sampler.points=2",
    "deis_tab": "deis",
    "edm_euler": "euler",
    "sde_dpm_solver_pp": "dpmpp_2m_sde",
    "cm_stochastic_iterative": "lcm",
    "consistency": "lcm",
    "exp_heun_2_x0": NONE,
    "ddim_inverse": NONE,
    "tcd": NONE,
}
NEAR = {  # what comes nearest to an absent one
    "dpm_adaptive": "it chooses its own levels, where samplers here walk a grid; its step is that of dpm_solver_3s",
    "dpm_fast": "its steps but the last two are those of sampler=dpm_solver_3s grid=exponential",
}
SPACINGS = ("karras", "exponential", "beta")


def closest(group: str, said: str, known: Sequence[str]) -> str:
    """Return a hint for a sampler's name in another library: its name here, that it has none, or the closest match.

    Read without case, `k_` and `Scheduler`; `++` is pp, and a spacing behind the name is the grid's.
    """
    if group != "sampler":
        return did_you_mean(said, known)
    word, grid = plain(said), ""
    for spacing in SPACINGS:
        if word.endswith(f"_{spacing}"):
            word, grid = word.removesuffix(f"_{spacing}"), f" grid={spacing}"
    found = SAMPLERS.get(word) or (word if word in known else None)
    if found == NONE or (found is None and re.search(r"_cfg_pp$", word)):
        near = f": {NEAR[word]}" if word in NEAR else ""
        return f"; {said} is not among the samplers here, under no other name either{near}"
    return f"; here that is sampler={found}{grid}" if found else did_you_mean(said, known)


def plain(said: str) -> str:
    """k_DPM++ 2M, sample_dpmpp_2m and DPMSolverMultistepScheduler as words of small letters with lines between."""
    said = re.sub(r"(Flax)?(\w+?)(Discrete)?Scheduler$", r"\2\3", said.strip())
    if not re.search(r"[\s+]", said):
        said = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", said)
    word = re.sub(r"[\s-]+", "_", said.lower().replace("cfg++", "cfg_pp").replace("++", "pp"))
    return re.sub(r"^(k|sample)_|_gpu$", "", word)
