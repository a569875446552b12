"""Reflow and progressive distillation of an exact teacher: closed forms of what their students learn."""

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    DDIM,
    RK4,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    Epsilon,
    Euler,
    Flow,
    Heun,
    KeyedRandom,
    LearnedSchedule,
    ProgressiveDistillation,
    RawTime,
    RectifiedFlowSchedule,
    ReflowObjective,
    Trailing,
    TrigFlowSchedule,
    TruncatedSNRWeight,
    Velocity,
    VPSchedule,
    exact_gaussian,
    integrate,
    sample,
)
from mezzotint.diffusion.objective.teacher import GuidedTeacher
from mezzotint.networks import MLP

MEAN, STD = 0.5, 0.6
SCHEDULES = [RectifiedFlowSchedule(), VPSchedule(), TrigFlowSchedule(), EDMSchedule(5.0), CosineSchedule()]


def draws(n, start=0):
    return KeyedRandom(0, torch.arange(start, start + n))


def teacher(schedule):
    return exact_gaussian(schedule, torch.full((1, 1, 1), MEAN), STD)


class Student(nn.Module):
    """A network whose value decodes to the given x0 (x, t), for one target."""

    def __init__(self, schedule, target, x0):
        super().__init__()
        self.schedule, self.target, self.x0 = schedule, target, x0

    def forward(self, x, time, **_):
        level = self.schedule.level(time)
        a, b = self.target.coefficients(level)
        alpha, sigma, a, b = (
            torch.as_tensor(c).expand(len(x)).reshape(-1, 1, 1, 1) for c in (level.alpha, level.sigma, a, b)
        )
        x0 = self.x0(x, time)
        return a * x0 + b * (x - alpha * x0) / sigma


@pytest.mark.parametrize("target", [Flow(), Velocity()], ids=repr)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_step_of_the_student_is_two_of_the_teacher(schedule, target):
    """A student that takes both of the teacher's steps has no loss, and its samples are those of twice the steps."""
    exact = teacher(schedule)

    def two_steps(x, t):
        levels = [schedule.level((t - part * schedule.t_max / 5).clamp(min=0)) for part in (0.0, 0.5, 1.0)]
        return ProgressiveDistillation(exact, 5).halved(x, *levels, {})

    student = Denoiser(Student(schedule, target, two_steps), schedule, target, RawTime()).train()
    x0 = MEAN + STD * draws(40).normal("data", (1, 1, 1)).double()
    losses = ProgressiveDistillation(exact, 5, weight=TruncatedSNRWeight())(student, x0, draws(40))
    torch.testing.assert_close(losses, torch.zeros(40).double(), rtol=0, atol=1e-12)
    eps = torch.linspace(-2, 2, 9).double().reshape(9, 1, 1, 1)
    few, many = (sample(denoise, DDIM(), Trailing(n), eps) for denoise, n in ((student, 5), (exact, 10)))
    torch.testing.assert_close(few, many, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_times_are_those_of_the_grid(schedule):
    seen = []

    class Watch(nn.Module):
        def forward(self, x, time):
            seen.append(time)
            return torch.zeros_like(x)

    student = Denoiser(Watch(), schedule, Flow(), RawTime())
    ProgressiveDistillation(teacher(schedule), 4)(student, torch.zeros(4000, 1, 1, 1).double(), draws(4000))
    values, counts = seen[0].unique(return_counts=True)
    torch.testing.assert_close(values, torch.arange(1, 5).double() * schedule.t_max / 4)
    assert (counts > 850).all()


def test_reflow_pairs_the_noise_with_its_sample_and_one_step_is_exact():
    """N(0, 1) is mapped to N(MEAN, STD^2) by MEAN + STD eps; the straight flow between the two is a closed form."""
    schedule = RectifiedFlowSchedule()

    def x0(x, t):
        t = t.reshape(-1, 1, 1, 1)
        return MEAN + STD * (x - (1 - t) * MEAN) / ((1 - t) * STD + t)

    student = Denoiser(Student(schedule, Flow(), x0), schedule, Flow(), RawTime()).train()
    objective = ReflowObjective(teacher(VPSchedule()), RK4(), Trailing(64))
    losses = objective(student, torch.full((50, 1, 1, 1), 9.0).double(), draws(50))
    torch.testing.assert_close(
        losses, torch.zeros(50).double(), rtol=0, atol=1e-4
    )  # the teacher's pure noise has some mean
    eps = torch.linspace(-2, 2, 9).double().reshape(9, 1, 1, 1)
    torch.testing.assert_close(integrate(student, Euler(), Trailing(1)(schedule), eps), MEAN + STD * eps)


def test_reflow_examples_do_not_depend_on_their_batch_and_keep_their_conditions():
    def network(seed):
        torch.manual_seed(seed)
        made = MLP((1, 2, 2), 3, 8).double()
        for p in made.parameters():
            p.data.add_(0.3 * torch.randn_like(p))
        return Denoiser(made, RectifiedFlowSchedule(), Flow())

    objective = ReflowObjective(network(0), Heun(), Trailing(3), label_dropout=0.5)
    student, x0, label = network(1).train(), torch.zeros(8, 1, 2, 2).double(), torch.arange(8) % 3
    together = objective(student, x0, draws(8), label=label)
    apart = [objective(student, x0[i : i + 1], draws(1, i), label=label[i : i + 1]) for i in range(8)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-6, atol=1e-8)
    other = objective(student, x0, draws(8), label=(label + 1) % 3)
    assert (together != other).all()  # the teacher samples the class also where the student does not see it
    assert not list(objective.parameters())
    assert not objective.state_dict()


def test_guidance_of_the_teacher_is_that_of_cfg():
    from mezzotint.diffusion import CFG

    torch.manual_seed(0)
    network = MLP((1, 2, 2), 3, 8).double()
    network.last.weight.data.normal_()
    denoiser, label = Denoiser(network, RectifiedFlowSchedule(), Flow()), torch.tensor([0, 2])
    x, level = torch.randn(2, 1, 2, 2).double(), RectifiedFlowSchedule().level(0.6)
    levels = RectifiedFlowSchedule().level(torch.tensor([0.6, 0.6]).double())
    got = GuidedTeacher(denoiser, 3.0).predict(x, levels, {"label": label}).x0
    torch.testing.assert_close(got, CFG(denoiser, 3.0)(x, level, label=label).x0)


def test_what_cannot_be_distilled_is_refused():
    exact = teacher(RectifiedFlowSchedule())
    with pytest.raises(ValueError, match=r"Use sampler=heun"):
        ReflowObjective(exact, DDIM(1.0), Trailing(4))
    for schedule, steps, word in ((CosineSchedule(), 3, "do not divide"), (LearnedSchedule(), 4, "fixed one")):
        denoiser = Denoiser(MLP((1, 1, 1), 0, 8), schedule, Epsilon() if schedule.learned else Velocity())
        with pytest.raises(ValueError, match=word):
            ProgressiveDistillation(exact, steps)(denoiser, torch.zeros(2, 1, 1, 1), draws(2))
