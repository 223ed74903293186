"""Model packages: impossible cards are refused, weights are hashed before they are parsed, zips are safe."""

import hashlib
import json
import os
import stat
import zipfile

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_models import CARD, tiny_card, tiny_package, tiny_state
from VirtualContrastLib.cli.main import main
from VirtualContrastLib.events import InputError
from VirtualContrastLib.models.import_model import ImportRequest, import_model
from VirtualContrastLib.models.package import ModelCard, load_package, save_package


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIRTUALCONTRAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def rewrite_card(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | changes))


# ---- saving and loading ----


def test_a_saved_package_comes_back_with_the_same_card_and_weights(tmp_path):
    saved = tiny_package(tmp_path / "tiny")
    loaded = load_package(tmp_path / "tiny")
    assert loaded.card == saved.card
    expected = tiny_state(saved.card)
    state = loaded.load_state()
    assert set(state) == set(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    digest = hashlib.sha256((tmp_path / "tiny" / "weights.safetensors").read_bytes()).hexdigest()
    assert loaded.card.weights_sha256 == digest


def test_a_package_holds_card_weights_licence_and_description(tmp_path):
    card = tiny_card()
    save_package(tmp_path / "p", card, tiny_state(card), model_card_md="# Text\n", extra_files={"plans.json": "{}"})
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [
        "LICENSE", "MODEL_CARD.md", "model.json", "plans.json", "weights.safetensors",
    ]  # fmt: skip
    assert (tmp_path / "p" / "LICENSE").read_text() == "Apache-2.0\n"
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_saving_replaces_a_package_and_refuses_any_other_folder(tmp_path):
    tiny_package(tmp_path / "tiny", seed=0)
    second = tiny_package(tmp_path / "tiny", seed=1)
    assert load_package(tmp_path / "tiny").card.weights_sha256 == second.card.weights_sha256
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not a model package"):
        tiny_package(tmp_path / "holiday")
    assert (tmp_path / "holiday" / "photo.jpg").exists()


def test_a_failed_save_leaves_nothing_behind(tmp_path):
    card = tiny_card()
    with pytest.raises(InputError, match="outside"):
        save_package(tmp_path / "p", card, tiny_state(card), model_card_md="", extra_files={"../evil": "x"})
    assert list(tmp_path.iterdir()) == []


def test_views_of_one_tensor_are_saved_as_tensors_of_their_own(tmp_path):
    card = tiny_card()
    state = {key: value.expand_as(value) for key, value in tiny_state(card).items()}
    state["model.1.weight"] = state["model.1.weight"].transpose(2, 3)
    package = save_package(tmp_path / "p", card, state, model_card_md="")
    assert torch.equal(package.load_state()["model.1.weight"], state["model.1.weight"])


# ---- weights ----


def test_weights_that_changed_by_one_bit_are_refused_before_they_are_parsed(tmp_path):
    package = tiny_package(tmp_path / "tiny")
    data = bytearray(package.weights_path.read_bytes())
    data[-1] ^= 1
    package.weights_path.write_bytes(data)
    with pytest.raises(InputError, match=r"do not match the card.*SHA-256"):
        package.load_state()


def test_missing_weights_are_named_with_the_place_that_was_looked_at(tmp_path):
    package = tiny_package(tmp_path / "tiny")
    package.weights_path.unlink()
    with pytest.raises(InputError) as error:
        package.load_state()
    assert str(package.weights_path) in str(error.value)


def test_a_card_without_hash_never_loads_weights(tmp_path):
    tiny_package(tmp_path / "tiny")
    rewrite_card(tmp_path / "tiny", weights_sha256="")
    with pytest.raises(InputError, match="SHA-256"):
        load_package(tmp_path / "tiny").load_state()


def test_a_file_with_the_right_hash_that_is_no_safetensors_file_is_refused(tmp_path):
    package = tiny_package(tmp_path / "tiny")
    package.weights_path.write_bytes(b"not a tensor")
    rewrite_card(tmp_path / "tiny", weights_sha256=hashlib.sha256(b"not a tensor").hexdigest())
    with pytest.raises(InputError, match="not a safetensors file"):
        load_package(tmp_path / "tiny").load_state()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda s: s.pop("model.1.weight"), r"1 keys missing \['model.1.weight'\]"),
        (lambda s: s.update(extra=torch.zeros(1)), r"1 unknown \['extra'\]"),
        (
            lambda s: s.update({"model.1.bias": torch.zeros(5)}),
            r"model.1.bias has shape \(5,\), expected \(4,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_the_architecture_are_refused_by_key(tmp_path, damage, told):
    package = tiny_package(tmp_path / "tiny")
    state = load_file(package.weights_path)
    damage(state)
    save_file(state, package.weights_path)
    digest = hashlib.sha256(package.weights_path.read_bytes()).hexdigest()
    rewrite_card(tmp_path / "tiny", weights_sha256=digest)
    with pytest.raises(InputError, match=told):
        load_package(tmp_path / "tiny").load_state()


# ---- the other files ----


def fault(folder, kind):
    if kind == "changed":
        (folder / "LICENSE").write_text("Do what you like.")
    elif kind == "missing":
        (folder / "MODEL_CARD.md").unlink()
    elif kind == "added":
        (folder / "sub").mkdir()
        (folder / "sub" / "more.json").write_text("{}")
    else:
        rewrite_card(folder, files={**json.loads((folder / "model.json").read_text())["files"], "../x": "0" * 64})


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("changed", "LICENSE does not match the card"),
        ("missing", r"MODEL_CARD\.md is missing"),
        ("added", r"holds sub/more\.json"),
        ("outside", r"'\.\./x' would land outside"),
    ],
)
def test_every_file_of_a_package_must_be_that_of_its_card(tmp_path, kind, told, capsys):
    package = tiny_package(tmp_path / "tiny")
    package.verify()
    (tmp_path / "tiny" / ".DS_Store").write_bytes(b"x")
    package.verify()
    fault(tmp_path / "tiny", kind)
    with pytest.raises(InputError, match=told):
        load_package(tmp_path / "tiny").load_state()
    assert main(["models", "verify", str(tmp_path / "tiny")]) == 2
    assert main(["models", "import", str(tmp_path / "tiny")]) == 2


def test_a_package_made_before_its_files_were_hashed_still_loads(tmp_path):
    tiny_package(tmp_path / "tiny")
    card = json.loads((tmp_path / "tiny" / "model.json").read_text())
    del card["files"]
    (tmp_path / "tiny" / "model.json").write_text(json.dumps(card))
    load_package(tmp_path / "tiny").load_state()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_stands_in_a_card(tmp_path, number):
    tiny_package(tmp_path / "tiny")
    path = tmp_path / "tiny" / "model.json"
    card = path.read_text()
    places = ('"ngf": 4', '"max_ratio": 4.0', "220.0", '"pad_multiple": 4')
    for place in places:
        assert place in card
        head = place.rpartition(":")[0] + ": " if ":" in place else ""
        path.write_text(card.replace(place, head + number))
        with pytest.raises(InputError, match="not a finite number"):
            load_package(tmp_path / "tiny")


def test_a_card_made_in_python_refuses_numbers_that_are_not_finite():
    nan = float("nan")
    with pytest.raises(ValueError, match="finite"):
        tiny_card(outputs={"channel_phases": [1, 2, 3], "times_s": [90.0, nan, 350.0]})
    with pytest.raises(ValueError, match="finite"):
        tiny_card(intensity={"recipe": "pre_percentile", "constants": {"max_ratio": nan}})


# ---- cards ----


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": {"name": "transformer", "config": {}}}, "architecture.name"),
        ({"unknown_field": 1}, "unknown_field"),
        ({"license": " "}, "license"),
        ({"id": "../evil"}, "id"),
        ({"outputs": {"channel_phases": [1, 2], "times_s": [90, 220]}}, "channel_phases has 2 entries"),
        ({"outputs": {"channel_phases": [1, 3, 3], "times_s": [90, 220]}}, "without a gap"),
        ({"outputs": {"channel_phases": [1, 2, 3], "times_s": [90, 220]}}, "2 values for 3 phases"),
        ({"outputs": {"channel_phases": [1, 2, 3], "times_s": [90, 90, 350]}}, "increasing"),
        ({"inputs": {"phases": [0], "channel_offsets": [0]}}, "channel_offsets has 1 entries"),
        ({"inputs": {"phases": [1], "channel_offsets": [-1, 0, 1]}}, "inputs.phases"),
        ({"intensity": {"recipe": "pre_percentile"}}, "missing .'max_ratio'"),
        ({"intensity": {"recipe": "minmax_8bit", "constants": {"gamma": 2}}}, "unknown .'gamma'"),
        ({"intensity": {"recipe": "zscore", "constants": {"max_sd": 5, "mean": 0}}}, "mean and std"),
        ({"intensity": {"recipe": "zscore", "constants": {"max_sd": 0}}}, "out of range"),
        ({"in_plane": {"policy": "resample", "pad_multiple": 4}}, "needs spacing_mm"),
        ({"in_plane": {"policy": "native", "pad_multiple": 3}}, "multiple of 2"),
        ({"outputs": None}, "needs outputs"),
    ],
)
def test_a_card_that_cannot_be_right_is_refused_with_the_reason(tmp_path, changes, told):
    tiny_package(tmp_path / "tiny")
    rewrite_card(tmp_path / "tiny", **changes)
    with pytest.raises(InputError, match=told) as error:
        load_package(tmp_path / "tiny")
    assert str(tmp_path / "tiny" / "model.json") in str(error.value)


def test_the_percentile_defaults_to_99_and_is_written_out():
    assert tiny_card().intensity.constants == {"percentile": 99.0, "max_ratio": 4.0}


def test_a_local_enhancer_needs_one_more_halving_in_the_padding():
    local = {"netG": "local"}
    with pytest.raises(ValidationError, match="multiple of 4"):
        tiny_card(config=local, in_plane={"pad_multiple": 2})
    assert tiny_card(config=local, in_plane={"pad_multiple": 4}).kind == "synthesis"


def test_an_nnunet_card_needs_no_recipe_and_is_for_segmentation():
    card = ModelCard.model_validate(
        {key: CARD[key] for key in ("id", "version", "title", "trained_on_phantoms", "license")}
        | {
            "architecture": {"name": "nnunet", "config": {"folds": [0]}},
            "inputs": {"phases": [0, 1], "channels": ["pre", "subtraction_1"]},
        }
    )
    assert card.kind == "segmentation"


# ---- places ----


@pytest.mark.parametrize("prefix", ["", "tiny-1.0/"])
def test_a_zip_is_unpacked_once_into_the_cache_by_its_hash(tmp_path, cache, prefix):
    package = tiny_package(tmp_path / "tiny")
    archive = zipped(package.folder, tmp_path / "tiny.zip", prefix)
    loaded = load_package(archive)
    assert loaded.card == package.card
    assert (cache / "packages" / hashlib.sha256(archive.read_bytes()).hexdigest()) in [
        loaded.folder, loaded.folder.parent,
    ]  # fmt: skip
    loaded.load_state()
    before = loaded.weights_path.stat().st_ino
    assert load_package(archive).weights_path.stat().st_ino == before


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_what_was_unpacked_and_damaged_since_is_unpacked_again(tmp_path, cache, name, damage):
    archive = zipped(tiny_package(tmp_path / "tiny").folder, tmp_path / "tiny.zip", "")
    damaged = load_package(archive).folder / name
    content = damaged.read_bytes()
    if damage == "gone":
        damaged.unlink()
    else:
        damaged.write_bytes(content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    load_package(archive).load_state()
    assert damaged.read_bytes() == content


def test_a_cache_that_is_no_folder_is_one_sentence(tmp_path, cache):
    package = tiny_package(tmp_path / "tiny")
    cache.touch()
    with pytest.raises(InputError, match=r"cache .* cannot be written .* VIRTUALCONTRAST_CACHE"):
        load_package(zipped(package.folder, tmp_path / "tiny.zip", ""))
    with pytest.raises(InputError, match=r"cache .* cannot be written"):
        import_model(ImportRequest(package.folder))


def test_what_was_unpacked_and_not_used_for_a_month_is_removed_with_the_next_zip(tmp_path, cache):
    first, second, third = (
        zipped(tiny_package(tmp_path / name, id=name).folder, tmp_path / f"{name}.zip", "") for name in ("a", "b", "c")
    )
    unused, used = load_package(first).folder, load_package(second).folder
    mine = cache / "packages" / "notes"
    mine.mkdir()
    for folder in (unused, used, mine):
        os.utime(folder, (0, 0))
    load_package(second)
    load_package(third)
    assert (unused.exists(), used.exists(), mine.exists()) == (False, True, True)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt"])
def test_a_zip_entry_that_would_land_elsewhere_refuses_the_archive(tmp_path, cache, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("model.json", "{}")
        archive.writestr(name, "x")
    with pytest.raises(InputError, match="outside the model package"):
        load_package(tmp_path / "bad.zip")
    assert not list(tmp_path.rglob("*evil*"))
    assert list((cache / "packages").iterdir()) == []


def test_a_link_in_a_zip_refuses_the_archive(tmp_path):
    link = zipfile.ZipInfo("weights.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="link"):
        load_package(tmp_path / "bad.zip")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("broken.zip", b"PK\x03\x04 truncated", "cannot be unpacked"),
        ("nothing.zip", None, "does not exist"),
        ("weights.pth", b"x", "neither a folder nor a zip"),
    ],
)
def test_a_place_that_is_no_package_is_refused_by_name(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as error:
        load_package(tmp_path / name)
    assert name in str(error.value)


def test_a_folder_or_zip_without_a_card_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no model\.json"):
        load_package(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(InputError, match=r"no model\.json"):
        load_package(tmp_path / "x.zip")


def test_a_card_that_is_no_json_is_refused(tmp_path):
    tiny_package(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        load_package(tmp_path / "tiny")


def test_written_packages_can_be_read_by_others(tmp_path):
    folder = tiny_package(tmp_path / "tiny").folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_card_of_version_0_1_that_spells_licence_is_still_read():
    fields = {**CARD, "licence": CARD["license"]}
    del fields["license"]
    assert ModelCard.model_validate(fields).license == CARD["license"]
    assert "licence" not in ModelCard.model_validate(fields).model_dump()
