"""Seeded fuzzers: whole files and sensible command lines, changed a little, given to what reads them.

An item is "used" where it was read, "refused" where one sentence said why not. Everything else fails: another error, a
crash, more than LIMIT_S seconds of work. Item 0 is unchanged and has to be used, or the fuzzer would try nothing. Each
fuzzer runs in one child; where that dies, another continues after the item.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import random
import signal
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from children import fork
from matrix import study

if TYPE_CHECKING:
    from VirtualContrastLib.results.manifest import Manifest

LIMIT_S = 60.0
"""Of work of one item: an evaluation without arguments, which synthesizes phantoms of its own, takes 25."""
_WORDS = (
    b"0", b"-1", b"1e300", b"nan", b"inf", b"99999999999999999999", b"", b"\xff\xfe", b"../../x", b"%s%n", b"\x00",
    b"2000000000", b"null", b"[]", b"{}", b"true", b'"', b"\n",
)  # fmt: skip


class Draws(random.Random):
    """Draws the changes of one item; none where `whole` is set."""

    whole = False


Make = Callable[[Path, Draws], Callable[[], bool]]
"""Makes an item in its folder and returns what reads it: True where it was used, False where it was refused."""


@dataclass
class Count:
    """How the items of a fuzzer ended."""

    items: int = 0
    used: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)


def run(name: str, folder: Path, seed: int, items: int) -> Count:
    """Run fuzzer `name` on `items` mutations; the same seed gives the same ones."""
    folder.mkdir(parents=True)
    make = FUZZERS[name]
    count, start = Count(), 0
    while start < items:
        first = start
        child = fork(lambda: _child(make, folder, seed, first, items))  # noqa: B023  (forked at once)
        child.finish(LIMIT_S * 10 + 10 * items)
        for line in child.lines:
            if line.startswith("ITEM "):
                _, number, ending, what = line.split(" ", 3)
                start = int(number) + 1
                count.items += 1
                count.used += ending == "used"
                count.refused += ending == "refused"
                if ending == "failed":
                    count.failures.append(f"item {number}: {what}")
        if start < items:  # it died
            count.items += 1
            count.failures.append(
                f"item {start}: the process ended with {child.code}: {' '.join(child.lines[-3:])[-300:]}"
            )
            start += 1
    return count


def _child(make: Make, folder: Path, seed: int, first: int, items: int) -> int:
    def too_long(number: int, frame: object) -> None:
        raise TimeoutError(f"more than {LIMIT_S:g} s of work")

    signal.signal(signal.SIGPROF, too_long)
    for number in range(first, items):
        place = folder / str(number)
        place.mkdir(exist_ok=True)
        with _silent() as said:
            rng = Draws(f"{seed}-{number}")
            rng.whole = number == 0
            attempt = make(place, rng)
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            ending, what = _ending(attempt)
            signal.setitimer(signal.ITIMER_PROF, 0)
        if "Traceback" in said.getvalue():
            ending, what = "failed", said.getvalue()[-300:]
        elif number == 0 and ending == "refused":
            ending, what = "failed", "the unchanged item was refused"
        print(f"ITEM {number} {ending} {' '.join(what.split())[:300]}", flush=True)
    return 0


def _ending(attempt: Callable[[], bool]) -> tuple[str, str]:
    from VirtualContrastLib.events import ExitCode, VirtualContrastError

    try:
        return ("used", "") if attempt() else ("refused", "")
    except VirtualContrastError as error:
        if error.exit_code is ExitCode.FAILED:
            return "failed", f"exit code 1: {error}"
        if "\n" in str(error) or len(str(error)) < 10:
            return "failed", f"no sentence: {error!r}"
        return "refused", ""
    except BaseException as error:  # noqa: BLE001  whatever it is, it is what the fuzzer looks for
        return "failed", f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _silent() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


def mutated(data: bytes, rng: Draws, head: int) -> bytes:
    """`data` with one to four changes, mostly in its first `head` bytes: bits, words, cuts, doublings."""
    out = bytearray(data)
    for _ in range(0 if rng.whole else rng.randint(1, 4)):
        at = rng.randrange(min(head, len(out)) if rng.random() < 0.8 else len(out)) if out else 0
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 8)] = rng.choice(_WORDS)
        elif kind == 2:
            del out[at : at + rng.randint(1, 40)]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randint(1, 40)]
        elif kind == 4:
            del out[rng.randrange(len(out) + 1) :]
        else:
            out[at : at + 4] = rng.getrandbits(32).to_bytes(4, "little")
    return bytes(out)


# ---- what is mutated: each makes the item in its folder and returns what reads it ------------------------------------


def _image(name: str) -> Make:
    def make(folder: Path, rng: Draws) -> Callable[[], bool]:
        from VirtualContrastLib.io.read import load

        path = folder / name
        image = sitk.GetImageFromArray((np.arange(6 * 20 * 24).reshape(6, 20, 24) % 251).astype(np.int16))
        image.SetSpacing((1.0, 1.0, 2.0))
        if name == "v.png":
            image = sitk.Cast(image[:, :, 0], sitk.sitkUInt8)
        if name == "v.dcm":
            image = image[:, :, 0]
            image.SetMetaData("0008|0060", "MR")
        sitk.WriteImage(image, str(path), rng.random() < 0.5)
        data = path.read_bytes()
        if name.endswith(".gz") and rng.random() < 0.7:
            path.write_bytes(gzip.compress(mutated(gzip.decompress(data), rng, 348), 1))
        else:
            path.write_bytes(mutated(data, rng, 400))
        return lambda: load(path) is not None

    return make


def _package(folder: Path, rng: Draws) -> Callable[[], bool]:
    from VirtualContrastLib.models.catalog import resolve_model
    from VirtualContrastLib.models.package import load_package

    name, kind = rng.choice((("phantom-joint-p1-p3", "synthesis"), ("phantom-lesion-nnunet", "segmentation")))
    source = resolve_model(name, kind).folder
    package = folder / "package"
    package.mkdir()
    for file in source.iterdir():
        if file.is_file():
            (package / file.name).symlink_to(file)
    texts = [file for file in sorted(package.iterdir()) if file.suffix == ".json"]
    changed = rng.choice([*texts, package / "weights.safetensors"])
    data = changed.read_bytes()
    changed.unlink()
    if changed.suffix == ".json" and not rng.whole and rng.random() < 0.6:
        changed.write_text(json.dumps(_changed_json(json.loads(data), rng)))
    else:
        changed.write_bytes(mutated(data, rng, 2000))
    if changed.name != "model.json" and rng.random() < 0.7:  # what is in it is read only where the card has its hash
        card = package / "model.json"
        text = card.read_text()
        card.unlink()
        card.write_text(text.replace(_sha256(data), _sha256(changed.read_bytes())))
    return lambda: load_package(package).load_state() is not None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _zipped(folder: Path, rng: Draws) -> Callable[[], bool]:
    """A damaged zip of a package, through the command line, with a cache of its own."""
    from VirtualContrastLib.cli.main import main
    from VirtualContrastLib.models.catalog import resolve_model

    archive = folder / "model.zip"
    source = resolve_model("phantom-joint-p1-p3", "synthesis").folder
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(archive, "w", method) as out:
        for file in source.iterdir():
            if file.is_file():
                out.write(file, file.name)
    data = archive.read_bytes()
    archive.write_bytes(mutated(data, rng, len(data)))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    return lambda: _command(main, ["models", "verify", str(archive)])


def _manifest(folder: Path, rng: Draws) -> Callable[[], bool]:
    from VirtualContrastLib.results.manifest import input_phase_times, load_result, verify_result

    (folder / "phase_1.nrrd").write_bytes(b"voxels")
    whole = dataclasses.asdict(_sample_manifest())
    if rng.random() < 0.6:
        (folder / "manifest.json").write_text(json.dumps(_changed_json(whole, rng)))
    else:
        (folder / "manifest.json").write_bytes(mutated(json.dumps(whole, indent=1).encode(), rng, 4000))

    def read() -> bool:
        result = load_result(folder)
        assert not result.incomplete and result.outputs and not input_phase_times(result.manifest.inputs)
        return not verify_result(folder)

    return read


def _sample_manifest() -> Manifest:
    from VirtualContrastLib.results.manifest import Manifest

    geometry = {
        "size": [8, 8, 4],
        "spacing_mm": [1.0, 1.0, 2.0],
        "origin_mm": [0.0] * 3,
        "direction": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    }
    source = {
        "role": "pre",
        "sha256": "0" * 64,
        "format": "nrrd",
        "modality": "MR",
        "time_s": 0.0,
        "geometry": geometry,
    }
    return Manifest(
        kind="synthesis",
        run_id="20260101T000000-000000",
        created_utc="2026-01-01T00:00:00+00:00",
        fingerprint="1" * 64,
        inputs=[source],
        models=[{"role": "synthesis", "id": "m", "version": "1", "weights_sha256": "2" * 64}],
        settings={"model": "m", "segmentation": "none", "seed": 0},
        device={"device": "cpu", "precision": "fp32", "reason": "test"},
        versions={"python": "3.11"},
        phases=[{"index": 1, "time_s": 90.0, "file": "phase_1.nrrd"}],
        arbitrary_units=False,
        timing_s={"read": 0.1},
        warnings=[],
        summary={"lesions": 1},
        outputs={"phase_1.nrrd": hashlib.sha256(b"voxels").hexdigest()},
    )


def _changed_json(value: object, rng: Draws) -> object:
    """The value with one part of it replaced or left out."""
    if rng.whole:
        return value
    odd = (None, -1, 1e308, 10**30, "", "x" * 300, [], {}, True, [[[[]]]], "../../x", float("nan"))
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {name: part for name, part in value.items() if name != key}
        return {**value, key: _changed_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return [*value[:at], _changed_json(value[at], rng), *value[at + 1 :]]
    return rng.choice(odd)


def _arguments(program: str) -> Make:
    def make(folder: Path, rng: Draws) -> Callable[[], bool]:
        if program == "engine":
            from VirtualContrastLib.cli.main import main
        else:
            from VirtualContrastTrainingLib.cli import main
        pre, real = study(folder)
        (folder / "file").write_text("text")
        line = list(_LINES[program][0] if rng.whole else rng.choice(_LINES[program]))
        values = {"PRE": pre, "REAL": real, "OUT": folder / "out", "FILE": folder / "file", "DIR": folder}
        line = [str(values.get(word, word)) for word in line]
        for _ in range(0 if rng.whole else rng.randint(1, 2)):
            at = rng.randint(1, len(line) - 1) if len(line) > 1 else 0
            change = rng.randrange(3)
            if change == 0:
                line[at] = rng.choice((*_ODD, str(values["FILE"]), str(values["DIR"])))
            elif change == 1:
                line[at:at] = [rng.choice(_ODD)]
            else:
                del line[at]
        # names such as "0" and "../../x" are folders too: what a command makes there stays in this one
        work = folder / "working" / "here"
        work.mkdir(parents=True)

        def run() -> bool:
            with contextlib.chdir(work):
                return _command(main, line)

        return run

    return make


_ODD = (
    "", "-1", "nan", "inf", "0", "1e300", "x" * 300, "~nobody/x", "../../x", "\udcff.nrrd", "--", "-", "\x1b[31m",
    "--seed", "--model", "--device", "99999999999999999999", "a\nb", "=1+1", "%s", "/dev/null", "--json",
)  # fmt: skip
_LINES = {
    "engine": (
        (
            "synthesize",
            "PRE",
            "-o",
            "OUT",
            "--model",
            "phantom-joint-p1-p3",
            "--segmentation",
            "none",
            "--seed",
            "1",
            "--times",
            "90",
            "220",
            "350",
        ),
        (
            "synthesize",
            "PRE",
            "-o",
            "OUT",
            "--model",
            "phantom-joint-p1-p3",
            "--real",
            "REAL",
            "--segmentation",
            "threshold",
            "--uncertainty",
            "2",
        ),
        ("compare", "PRE", "REAL", "-o", "OUT", "--times", "90"),
        ("batch", "DIR", "-o", "OUT", "--model", "phantom-joint-p1-p3", "--segmentation", "none"),
        ("models", "show", "phantom-joint-p1-p3"),
        ("models", "verify", "phantom-joint-p1-p3"),
        ("info", "--json"),
    ),
    "training": (
        ("phantom", "-o", "OUT", "--seed", "1", "--lesions", "1"),
        ("train", "phantom-joint-p1-p3", "-o", "OUT", "--seed", "1", "--max-minutes", "0.01"),
        ("evaluate", "DIR", "DIR", "-o", "OUT"),
        ("prepare", "DIR", "-o", "OUT"),
    ),
}


def _command(main: Callable[[list[str]], int], line: list[str]) -> bool:
    """Whether the command was done; raises where it ended otherwise than with a refusal."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(line)
    if code in (0, 4):
        return True
    text = said.getvalue()
    if code not in (2, 3) or "Traceback" in text:
        raise AssertionError(f"exit code {code} for {line}: {text[-400:]}")
    return False


FUZZERS: dict[str, Make] = {
    "nifti": _image("v.nii.gz"),
    "nrrd": _image("v.nrrd"),
    "metaimage": _image("v.mha"),
    "dicom": _image("v.dcm"),
    "png": _image("v.png"),
    "packages": _package,
    "zips": _zipped,
    "manifests": _manifest,
    "engine": _arguments("engine"),
    "training": _arguments("training"),
}
