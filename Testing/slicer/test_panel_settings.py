"""The panel offers the settings as the engine declares them: what it does not offer is named here with the reason."""

from dataclasses import fields
from types import SimpleNamespace

import pytest
from VirtualContrastLib.events import InputError
from VirtualContrastLib.networks.architectures import Abilities
from VirtualContrastLib.run.settings import RunSettings, options
from VirtualContrastLib.slicer_app.run import parameters as panel
from VirtualContrastLib.synthesis.device import Device

NOT_OFFERED = {
    "real_times_s": "the real phases of a sequence bring their times",
    "format": "the result is loaded into the scene, where the format of files makes no difference",
    "pixel_spacing_mm": "the volume of a scene has a spacing",
    "seed": "one seed for all makes runs repeatable",
    "resume": "a run of the panel has a new folder",
    "overwrite": "a run of the panel has a new folder",
    "precision": "the device chooses what was measured to be as good",
    "deidentify": "the panel's DICOM objects go to the patient of the input, in the same database",
    "keep_dates": "it belongs to de-identification",
    "series": "a volume of the scene is read already",
}
OFFERED = {
    "model": ("model", "some-model"),
    "segmentation": ("lesions", panel.Lesions.NONE),
    "device": ("device", panel.Device.CPU),
    "uncertainty": ("uncertaintyPasses", 7),
    "dicom": ("dicom", True),
    "register": ("register", True),
    "radiomics": ("radiomics", True),
    "force": ("force", True),
}
"""Setting: the parameter that gives it, and a value that is not its default."""


def parameters(**changes):
    """Stands for the parameter node: everything at its default but `changes`."""
    defaults = {"model": "", "lesions": panel.Lesions.AUTO, "device": panel.Device.AUTO, "uncertaintyPasses": 0}
    defaults |= {"acquired": 1}
    volumes = {"inputVolume": None, "realVolumes": [], "realSequence": None}
    return SimpleNamespace(
        **defaults
        | {"dicom": False, "register": False, "radiomics": False, "force": False, "times": "", "realTimes": ""}
        | volumes
        | changes
    )


def test_every_setting_is_offered_or_it_is_said_why_not():
    offered = {*OFFERED, "times_s", "acquired"}
    assert {field.name for field in fields(RunSettings)} == offered | set(NOT_OFFERED)
    assert not offered & set(NOT_OFFERED)
    assert panel.run_settings(parameters()) == RunSettings()


@pytest.mark.parametrize("setting", list(OFFERED))
def test_a_parameter_becomes_its_setting_and_no_other(setting):
    parameter, value = OFFERED[setting]
    settings = panel.run_settings(parameters(**{parameter: value}))
    changed = [name for name in options() if getattr(settings, name) != getattr(RunSettings(), name)]
    assert changed == [setting]
    assert getattr(settings, setting) == getattr(value, "value", value)


def test_times_are_asked_of_a_model_that_makes_any_and_of_no_other(monkeypatch):
    free = SimpleNamespace(abilities=Abilities(free_times=True))
    fixed = SimpleNamespace(abilities=Abilities(free_times=False))
    chosen = parameters(times="1:30, 220")
    monkeypatch.setattr(panel.model_list, "find_model", lambda *_a, **_k: free)
    assert panel.run_settings(chosen).times_s == (90.0, 220.0)
    assert panel.run_settings(parameters(times=" ")).times_s is None
    for wrong in ("soon", "220 90"):
        with pytest.raises(InputError, match="imes"):
            panel.run_settings(parameters(times=wrong))
    monkeypatch.setattr(panel.model_list, "find_model", lambda *_a, **_k: fixed)
    assert panel.run_settings(chosen).times_s is None


def test_several_acquired_phases_are_asked_of_a_model_that_reads_them_and_of_no_other(monkeypatch):
    for many, read in ((True, 3), (False, 1)):
        model = SimpleNamespace(abilities=Abilities(many_acquired=many))
        monkeypatch.setattr(panel.model_list, "find_model", lambda *_a, found=model, **_k: found)
        assert panel.run_settings(parameters(acquired=3)).acquired == read


def test_times_asked_for_and_times_of_the_real_phases_go_beside_each_other(monkeypatch):
    free = SimpleNamespace(abilities=Abilities(free_times=True))
    monkeypatch.setattr(panel.model_list, "find_model", lambda *_a, **_k: free)
    settings = panel.model_list.with_real_times(RunSettings(times_s=(60.0, 120.0)), (90.0, 220.0))
    assert (settings.times_s, settings.real_times_s) == ((60.0, 120.0), (90.0, 220.0))


def test_the_devices_are_those_of_the_engine():
    assert [device.value for device in panel.Device] == list(Device)
