"""What a sweep's table may rank."""

from mezzotint.app.sweep import unlike


def test_losses_of_different_targets_have_different_units() -> None:
    one, other = ({"target": {"_target_": name}, "seed": i} for i, name in enumerate("ab"))
    assert unlike([one, other], [0.1, 0.2], [False, False]) == "target"
    assert unlike([one, other], [0.1, 0.2], [True, True]) == ""
    assert unlike([one, one | {"seed": 5}], [0.1, 0.2], [False, False]) == ""
    assert unlike([one, other], [0.1, None], [False, False]) == ""
