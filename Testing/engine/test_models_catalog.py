"""The catalog: valid, in step with its schema, and clear about what is not there."""

import json

import jsonschema
import pytest
from tiny_models import tiny_card, tiny_package
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models import paths as model_places
from VirtualContrastLib.models.catalog import (
    Catalog,
    any_package,
    installed_models,
    load_catalog,
    remove,
    resolve_model,
    resources_dir,
    schemas,
)
from VirtualContrastLib.models.import_model import ImportRequest, import_model


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A cache and resources of this test's own, with the real catalog and one embedded model `built-in`."""
    real = resources_dir()
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path / "Resources"))
    models = tmp_path / "Resources" / "Models"
    models.mkdir(parents=True)
    (models / "catalog.json").write_text((real / "Models" / "catalog.json").read_text())
    tiny_package(models / "built-in", id="built-in")
    tiny_package(tmp_path / "cache" / "Models" / "fetched", id="fetched")
    return tmp_path


def test_the_published_schemas_are_those_of_the_code(monkeypatch):
    monkeypatch.delenv("VIRTUALCONTRAST_RESOURCES")
    assert schemas()
    for name, text in schemas().items():
        assert (resources_dir() / "Models" / name).read_text(encoding="utf-8") == text, (
            f"{name} is out of date; run VirtualContrastLib.models.catalog.write_schemas(resources_dir() / 'Models')"
        )


def test_the_shipped_catalog_and_a_card_follow_the_published_schemas():
    written = {name: json.loads(text) for name, text in schemas().items()}
    jsonschema.validate(load_catalog().model_dump(mode="json"), written["catalog.schema.json"])
    jsonschema.validate(tiny_card().model_dump(mode="json"), written["model.schema.json"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"id": "x"}, written["model.schema.json"])


def test_the_catalog_names_defaults_for_phantoms_and_the_published_network():
    found = load_catalog()
    assert found.default_id("synthesis", phantom=True) == "phantom-joint-p1-p3"
    assert found.default_id("segmentation", phantom=True) == "phantom-lesion-nnunet"
    published = found.find("medigan-00023-pix2pixhd")
    assert published.sha256 is None
    assert all(url.startswith("https://zenodo.org/records/102") for url in published.urls)
    assert found.find("nothing") is None


def test_resources_are_found_in_the_source_tree_and_beside_an_installed_library(tmp_path, monkeypatch):
    monkeypatch.delenv("VIRTUALCONTRAST_RESOURCES")
    assert (resources_dir() / "Models" / "catalog.json").is_file()
    installed = tmp_path / "app" / "lib" / "VirtualContrastLib" / "models"
    installed.mkdir(parents=True)
    (tmp_path / "app" / "lib" / "Resources" / "Models").mkdir(parents=True)
    monkeypatch.setattr(model_places, "__file__", str(installed / "places.py"))
    assert resources_dir() == (tmp_path / "app" / "lib" / "Resources").resolve()


def test_missing_resources_are_told_with_the_places_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_RESOURCES", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        resources_dir()


def test_the_cache_follows_xdg_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("VIRTUALCONTRAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert model_places.cache_dir() == tmp_path / "xdg" / "VirtualContrast"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert model_places.cache_dir() == tmp_path / "home" / ".cache" / "VirtualContrast"


def test_a_model_is_found_embedded_in_the_cache_and_by_path(places):
    assert resolve_model("built-in", "synthesis").folder == places / "Resources" / "Models" / "built-in"
    assert resolve_model("fetched", "synthesis").folder == places / "cache" / "Models" / "fetched"
    tiny_package(places / "mine", id="mine")
    assert resolve_model(str(places / "mine"), "synthesis").card.id == "mine"


def test_default_stands_for_the_catalogs_model_for_patients_in_every_function_that_takes_a_name(places):
    path = places / "Resources" / "Models" / "catalog.json"
    mine = {"kind": "synthesis", "title": "t", "description": "d", "license": "l"}
    mine |= {"source": "download", "urls": ["https://a.b"], "sha256": "0" * 64}
    entries = [mine | {"id": "built-in", "default_for_phantoms": True}, mine | {"id": "fetched", "default": True}]
    path.write_text(json.dumps({"schema_version": 1, "models": entries}))
    tiny_package(places / "default", id="somebody-elses")  # a folder of that name in the working folder
    fetched = places / "cache" / "Models" / "fetched"
    assert resolve_model("default", "synthesis").folder == fetched
    assert any_package("default").folder == fetched
    with pytest.raises(InputError, match="no default model for segmentation"):
        resolve_model("default", "segmentation")
    assert remove("default") == fetched
    with pytest.raises(InputError, match="models download fetched"):
        any_package("default")


def test_no_model_can_be_installed_under_the_name_default(places):
    package = tiny_package(places / "mine", id="default")
    with pytest.raises(InputError, match="another id"):
        import_model(ImportRequest(package.folder))
    assert "default" not in installed_models()


def test_a_package_that_is_being_written_is_not_listed(places):
    tiny_package(places / "cache" / "Models" / ".half-x", id="half")
    assert list(installed_models()) == ["built-in", "fetched"]


def test_an_unknown_model_is_refused_with_the_known_ids():
    with pytest.raises(InputError) as error:
        resolve_model("nonsense", "synthesis")
    for known in ("built-in", "fetched", "phantom-joint-p1-p3", "medigan-00023-pix2pixhd"):
        assert known in str(error.value)


def test_an_embedded_model_that_is_not_there_is_told_with_the_place():
    with pytest.raises(InputError, match=r"looked in .*Models/phantom-joint-p1-p3"):
        resolve_model("phantom-joint-p1-p3", "synthesis")


def test_the_published_model_is_told_to_be_downloaded():
    with pytest.raises(InputError, match="virtual-contrast models download medigan-00023-pix2pixhd"):
        resolve_model("medigan-00023-pix2pixhd", "synthesis")


def test_a_model_of_the_catalog_that_can_be_downloaded_is_told_with_the_command(places):
    path = places / "Resources" / "Models" / "catalog.json"
    entry = load_catalog().models[2].model_dump() | {"id": "there", "sha256": "0" * 64}
    path.write_text(json.dumps({"schema_version": 1, "models": [entry]}))
    with pytest.raises(InputError, match="virtual-contrast models download there"):
        resolve_model("there", "synthesis")


def test_a_model_of_the_other_kind_is_refused():
    with pytest.raises(InputError, match="for synthesis; one for segmentation"):
        resolve_model("built-in", "segmentation")


def test_a_path_that_does_not_exist_is_not_taken_for_an_id():
    with pytest.raises(InputError, match="does not exist"):
        resolve_model("some/where", "synthesis")


def test_only_models_of_the_cache_are_removed(places):
    removed = remove("fetched")
    assert not removed.exists()
    assert list(installed_models()) == ["built-in"]
    with pytest.raises(InputError, match="part of the software"):
        remove("built-in")
    assert (places / "Resources" / "Models" / "built-in" / "model.json").exists()
    for unknown in ("fetched", "../Models/built-in", ".."):
        with pytest.raises(InputError, match="no model"):
            remove(unknown)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"urls": []}, "needs urls"),
        ({"manual_import": None}, "needs manual_import"),
        ({"sha256": "short"}, "pattern"),
        ({"default_for_phantoms": True}, "at most one default"),
        ({"id": "phantom-joint-p1-p3"}, "unique"),
    ],
)
def test_a_catalog_that_cannot_be_right_is_refused(change, told):
    values = load_catalog().model_dump()
    values["models"][2] |= change
    with pytest.raises(ValueError, match=told):
        Catalog.model_validate(values)


def test_a_damaged_catalog_is_refused_by_name(places):
    path = places / "Resources" / "Models" / "catalog.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"catalog\.json cannot be read"):
        load_catalog()
    path.write_text('{"schema_version": 2, "models": []}')
    with pytest.raises(InputError, match=r"catalog\.json is not valid: schema_version"):
        load_catalog()
