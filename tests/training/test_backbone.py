import re

import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn import functional as F  # noqa: N812 - the field's own name

from fulldeck.errors import ConfigError
from fulldeck.training.backbone import PACKAGED, check_sizes, create_backbone, packaged_weights


@pytest.fixture(scope="module")
def packaged():
    return list(torch.load(packaged_weights(), weights_only=True).values())


def test_the_default_network_has_the_packaged_weights(packaged):
    state = create_backbone(PACKAGED, 53, pretrained=True).state_dict()
    assert len(state) == len(packaged)
    for (name, tensor), wanted in zip(state.items(), packaged, strict=True):
        if name.startswith("classifier."):
            assert tensor.shape[0] == 53
        else:
            assert torch.equal(tensor, wanted), name


def test_the_weights_are_the_right_ones_for_the_network(packaged):
    """With its ImageNet head, the network tells what it was trained to tell: a right order, not just right shapes."""
    network = create_backbone(PACKAGED, 1000, pretrained=True).eval()
    assert torch.equal(network.classifier.weight, packaged[-2])
    config = network.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    picture = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    picture = F.interpolate(picture[..., 106:533], (224, 224), mode="area")
    with torch.no_grad():
        found = network((picture - mean) / std).topk(3).indices
    assert 698 in found  # ImageNet's palace


def test_without_pretraining_the_weights_are_random(packaged):
    first = next(create_backbone(PACKAGED, 5, pretrained=False).parameters())
    assert first.shape == packaged[0].shape
    assert not torch.equal(first, packaged[0])


def test_the_seed_decides_the_head():
    def head(seed):
        torch.manual_seed(seed)
        return create_backbone(PACKAGED, 7, pretrained=True).classifier.weight

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_resnet", "test_efficientnet"])
def test_any_timm_network_gets_the_head_that_is_wanted(name):
    network = create_backbone(name, 6, pretrained=False, drop_rate=0.1).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 6)


def test_an_unknown_name_is_refused_with_names_near_it():
    with pytest.raises(ConfigError, match=r"no network named 'mobilenetv3_smal'; near it: .*mobilenetv3_small_050"):
        create_backbone("mobilenetv3_smal", 5, pretrained=True)
    with pytest.raises(ConfigError, match=re.compile(r"no network named 'xyzzy'$")):
        create_backbone("xyzzy", 5, pretrained=False)


def test_an_option_that_the_network_does_not_know_is_refused():
    with pytest.raises(ConfigError, match=r"vgg11 .*drop_path_rate"):
        create_backbone("vgg11", 5, pretrained=False, drop_path_rate=0.1)


@pytest.mark.parametrize("sizes", [(96, 224), (224, 96)])
def test_a_network_of_one_size_takes_no_other(sizes):
    network = create_backbone("vit_tiny_patch16_224", 5, pretrained=False)
    check_sizes(network, 224, 224)
    with pytest.raises(ConfigError, match=r"vit_tiny_patch16_224 .* 224 pixels, not of 96; set data.size=224 and"):
        check_sizes(network, *sizes)


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "mobilenetv3_small_050"])
def test_a_network_that_takes_other_sizes_may_have_them(name):
    check_sizes(create_backbone(name, 5, pretrained=False), 96, 224)


def test_without_the_hub_it_says_what_to_do(monkeypatch):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)  # the hub may be there or not; here it is not
    with pytest.raises(ConfigError, match=f"hub .*model.backbone={PACKAGED}.*model.pretrained=false"):
        create_backbone("test_resnet", 5, pretrained=True)


def test_packaged_weights_of_another_network_are_refused(monkeypatch, tmp_path, packaged):
    file = tmp_path / "weights.pth"
    monkeypatch.setattr("fulldeck.training.backbone.packaged_weights", lambda: file)
    torch.save({str(i): tensor for i, tensor in enumerate(packaged[:-1])}, file)
    with pytest.raises(ConfigError, match="reinstall the package"):
        create_backbone(PACKAGED, 5, pretrained=True)
    torch.save({str(i): tensor for i, tensor in enumerate(reversed(packaged))}, file)
    with pytest.raises(ConfigError, match=r"has shape .*reinstall the package"):
        create_backbone(PACKAGED, 5, pretrained=True)
