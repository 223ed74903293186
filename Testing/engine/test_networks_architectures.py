"""The registry of architectures: one record each, old names, and records of other packages."""

import importlib.metadata
import json
import subprocess
import sys

import pytest
import torch
from tiny_models import tiny_iter_unet, tiny_mammogram_model, tiny_package, tiny_time_conditioned
from torch import nn
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.card import ArchitectureSpec
from VirtualContrastLib.models.package import load_package
from VirtualContrastLib.networks import architectures
from VirtualContrastLib.networks.architectures import Architecture, architecture, find, part
from VirtualContrastLib.networks.options import Options, SliceOptions
from VirtualContrastLib.synthesis.device import choose_device
from VirtualContrastLib.synthesis.study_synthesizer import study_synthesizer

IDS = ["pix2pixhd", "subtraction_unet", "time_conditioned", "residual_enhancement", "iter_unet", "cyclegan", "nnunet"]


def test_every_built_in_record_names_parts_that_are_there():
    built_in = {record.id: record for record in architectures._BUILT_IN}
    assert set(IDS) <= set(built_in)
    for record in built_in.values():
        assert issubclass(part(record.options), Options)
        assert all(callable(part(place)) for place in (record.build, record.synthesizer) if place is not None)
        assert (record.synthesizer is None) == (record.kind == "segmentation")


@pytest.mark.parametrize("make", [tiny_package, tiny_time_conditioned, tiny_iter_unet, tiny_mammogram_model])
def test_a_package_of_each_kind_gets_its_network_and_its_synthesizer(tmp_path, make):
    package = load_package(make(tmp_path / "model").folder)
    state = package.load_network().state_dict()
    assert all(torch.equal(state[key], value) for key, value in package.load_state().items())
    assert hasattr(study_synthesizer(package, choose_device("cpu")), "synthesize_study")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pix2pixhd_generator", "pix2pixhd"),
        ("time_conditioned_generator", "time_conditioned"),
        ("cyclegan_generator", "cyclegan"),
    ],
)
def test_a_card_of_an_older_version_is_read_under_its_new_name(tmp_path, old, new):
    assert architecture(old).id == new
    make = {"pix2pixhd": tiny_package, "time_conditioned": tiny_time_conditioned, "cyclegan": tiny_mammogram_model}[new]
    path = make(tmp_path / "model").folder / "model.json"
    card = json.loads(path.read_text())
    card["architecture"]["name"] = old
    path.write_text(json.dumps(card))
    package = load_package(path.parent)
    assert package.card.architecture.name == new
    package.load_state()


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    assert find("transformer") is None and find(["pix2pixhd"]) is None
    with pytest.raises(ValueError, match=r"unknown architecture 'transformer'; known are pix2pixhd, .*installed\?"):
        ArchitectureSpec(name="transformer", config={})


def test_whole_numbers_in_place_of_weights_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file
    from VirtualContrastLib.models.package import check_state

    package = tiny_package(tmp_path / "tiny")
    state = {key: value.to(torch.int32) for key, value in load_file(package.weights_path).items()}
    save_file(state, package.weights_path)
    with pytest.raises(InputError, match=r"holds torch\.int32, expected torch\.float32"):
        check_state(state, "pix2pixhd", package.card.architecture.config, "weights")


def test_the_records_need_no_third_party_package():
    # -S: no site-packages; -E: no PYTHONPATH; the library alone is put in the way.
    place = importlib.import_module("VirtualContrastLib").__path__[0]
    code = (
        f"import sys; sys.path.insert(0, {str(place)!r} + '/..')\n"
        "from VirtualContrastLib.networks.architectures import architectures\n"
        "print(*architectures())"
    )
    found = subprocess.run([sys.executable, "-SEc", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == [record.id for record in architectures._BUILT_IN]


# ---- records of other packages ----


class PlainOptions(SliceOptions):
    output_nc: int
    width: int = 4

    @property
    def halvings(self):
        return 3


def build_plain(options):
    return nn.Conv2d(options.input_nc, options.output_nc, 1)


PLAIN = Architecture("plain", options=PlainOptions, build=build_plain)


class Point:
    """An entry point that gives `loaded` or raises it."""

    value = "elsewhere:ARCHITECTURE"

    def __init__(self, loaded):
        self.loaded = loaded

    def load(self):
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


@pytest.fixture
def with_entry_points(monkeypatch):
    """A function that makes the given objects those of the entry-point group."""

    def use(*loaded):
        monkeypatch.setattr(architectures, "entry_points", lambda group: [Point(item) for item in loaded])
        architectures.architectures.cache_clear()

    yield use
    architectures.architectures.cache_clear()


def test_a_record_of_another_package_is_checked_like_the_built_in_ones(with_entry_points, tmp_path):
    with_entry_points(PLAIN)
    plain = {"name": "plain", "config": {"input_nc": 3, "output_nc": 3}}
    assert ArchitectureSpec.model_validate(plain).options.width == 4
    with pytest.raises(ValueError, match="network option depth is unknown"):
        ArchitectureSpec.model_validate({**plain, "config": {**plain["config"], "depth": 1}})
    package = tiny_package(tmp_path / "tiny")
    path = package.folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architecture": plain}))
    with pytest.raises(InputError, match="multiple of 8 for this network"):
        load_package(package.folder)


def test_a_broken_package_takes_no_model_away_and_no_name_is_taken_twice(with_entry_points, caplog):
    double = Architecture("pix2pixhd", options=PlainOptions)
    with_entry_points(RuntimeError("broken"), "no record", double, PLAIN)
    assert list(architectures.architectures())[-1] == "plain"
    assert architecture("pix2pixhd").build is not None
    for told in ("cannot be loaded", "is not an Architecture record", "name in use"):
        assert told in caplog.text
