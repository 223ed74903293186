"""The extension as the Extensions Index takes it: its entry, the Index's own checks, and its own packaging script.

The fast tests hold what the Index demands and what can be seen from the files. The slow ones run the Index's scripts as
they are. They need git directories of Slicer and of the Index, named by SLICER_GIT and EXTENSIONS_INDEX_GIT (by default
those of `../.mirror`), and skip without them:

    git clone --bare https://github.com/Slicer/Slicer
    git -C Slicer.git fetch https://github.com/lassoan/Slicer python-ext-build
    git clone --bare https://github.com/Slicer/ExtensionsIndex
"""

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRY = REPOSITORY / "Resources" / "VirtualContrast.json"
MIRROR = REPOSITORY.parent / ".mirror"
SLICER = "5.12"
PACKAGER = "8c284eea96cf56661db360a6d7d7027399abe69c:Utilities/Scripts/package_python_extension.py"
"""What the workflow of the Index runs (branch python-ext-build of lassoan/Slicer)."""


def entry():
    return json.loads(ENTRY.read_text(encoding="utf-8"))


def cmake_variables():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\((EXTENSION_\w+) "([^"\n]*)"\)$', text, re.MULTILINE))


def local_file(url):
    """The file of the repository that a URL of its main branch shows."""
    owner_and_name = urlsplit(entry()["scm_url"]).path
    assert url.startswith(f"https://raw.githubusercontent.com{owner_and_name}/main/"), url
    return REPOSITORY / url.partition("/main/")[2]


def test_the_entry_says_what_the_extension_says_of_itself():
    said, variables = entry(), cmake_variables()
    assert said["scm_url"] == variables["EXTENSION_HOMEPAGE"]
    assert said["build_dependencies"] == variables["EXTENSION_DEPENDS"].split()
    assert b"\r" not in ENTRY.read_bytes()
    project = re.search(r"project\((\w+)\)", (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")).group(1)
    assert project == ENTRY.stem and not project.lower().startswith("slicer")
    assert said["scm_url"].rpartition("/")[2].startswith("Slicer")


def test_icon_and_screenshots_are_files_of_the_repository():
    variables = cmake_variables()
    for url in [variables["EXTENSION_ICONURL"], *variables["EXTENSION_SCREENSHOTURLS"].split()]:
        assert local_file(url).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", url


def test_no_source_of_cpp_keeps_the_index_from_packaging_it():
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert not [name for name in listed.split("\n") if name.endswith((".h", ".cxx"))]


def git_directory(variable, name):
    place = Path(os.environ.get(variable) or MIRROR / name / "repo")
    if not place.is_dir():
        pytest.skip(f"no git directory at {place}; name one with {variable}")
    return place


def from_git(place, what):
    done = subprocess.run(["git", "-C", place, "show", what], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"{place} has no {what}")
    return done.stdout


def unpack(place, revision, paths, folder):
    command = ["git", "-C", place, "archive", revision, *paths]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What is committed, as somebody else gets it."""
    place = tmp_path_factory.mktemp("clone") / "SlicerVirtualContrast"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(REPOSITORY), str(place)], check=True)
    return place


@pytest.mark.slow
def test_the_checks_of_the_index_pass(clone, tmp_path, monkeypatch):
    """Its script without a listing that needs Python 3.12; for the network stand Slicer's sources and this repository.

    Of all checks one is not made: that the public repository has the topic 3d-slicer-extension.
    """
    index = git_directory("EXTENSIONS_INDEX_GIT", "Slicer+ExtensionsIndex")
    slicer = git_directory("SLICER_GIT", "Slicer+Slicer")
    script = tmp_path / "check_description_files.py"
    text = from_git(index, "HEAD:scripts/check_description_files.py").decode()
    script.write_text(re.sub(r"^def print_categories.*?(?=^def )", "", text, flags=re.DOTALL | re.MULTILINE))
    spec = importlib.util.spec_from_file_location("check_description_files", script)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)

    class Answer:
        def __init__(self, content):
            self.content, self.headers = content, {"Content-Type": "image/png"}

        def raise_for_status(self):
            pass

        def json(self):
            return json.loads(self.content)

    def get(url, **_more):
        if url.startswith("https://raw.githubusercontent.com/Slicer/Slicer/main/"):
            return Answer(from_git(slicer, f"HEAD:{url.partition('/main/')[2]}"))
        return Answer(local_file(url).read_bytes())

    monkeypatch.setattr(checks.requests, "get", get)
    name, metadata = ENTRY.stem, entry()
    checks.check_json_schema(name, metadata)
    checks.check_json_file_format(name, metadata, ENTRY)
    checks.check_extension_name(name, metadata)
    checks.check_category(name, metadata)
    checks.check_git_repository_name(name, metadata)
    checks.check_scm_url_syntax(name, metadata)
    checks.check_repository_size(name, metadata, clone)
    checks.check_cmakelists_content(name, metadata, clone)
    checks.check_license_file(name, metadata, clone)
    with pytest.raises(checks.ExtensionCheckError):
        checks.check_json_schema(name, metadata | {"tier": 9})
    others = subprocess.run(["git", "-C", index, "ls-tree", "--name-only", "HEAD"], check=True, capture_output=True)
    for dependency in metadata["build_dependencies"]:
        assert f"{dependency}.json" in others.stdout.decode().split("\n")


@pytest.fixture(scope="module")
def package(clone, tmp_path_factory):
    """The package as the workflow of the Index makes it, with the CMake files of Slicer; unpacked."""
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if cmake is None or not version_of(cmake) >= (3, 31):
        pytest.skip("the Index's script needs CMake 3.31 or newer: pip install cmake")
    slicer, work = git_directory("SLICER_GIT", "Slicer+Slicer"), tmp_path_factory.mktemp("package")
    (work / "package.py").write_bytes(from_git(slicer, PACKAGER))
    needed = [
        "CMake",
        "Extensions/CMake",
        "Base/QTCore/Testing/Python",
        "CMakeLists.txt",
        "License.txt",
        "README.md",
        "Utilities",
    ]
    unpack(slicer, SLICER, needed, work / "slicer")
    options = {"--ext-src": clone, "--slicer-src": work / "slicer", "--build-dir": work / "build", "--cmake": cmake}
    options |= {"--dummy-build": work / "dummy", "--output-dir": work / "packages", "--slicer-revision": "34045"}
    command = [sys.executable, "package.py", *(str(part) for option in options.items() for part in option)]
    done = subprocess.run(
        [*command, "--cmake-arg", "-DBUILD_TESTING=OFF"], cwd=work, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = (work / "packages").glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(work / "unpacked", filter="data")
    (top,) = (work / "unpacked").iterdir()
    return archive, top


def version_of(cmake):
    told = subprocess.run([cmake, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", told).groups()))


@pytest.mark.slow
def test_the_package_holds_every_file_of_the_modules_and_says_what_it_depends_on(package, clone):
    archive, top = package
    assert re.fullmatch(r"34045-linux-\w+-VirtualContrast-git[\w-]+\.tar\.gz", archive.name)
    assert archive.stat().st_size < 20 * 2**20
    scripted = top / "lib" / f"Slicer-{SLICER}" / "qt-scripted-modules"
    for module in ("VirtualContrast", "VirtualContrastTraining"):
        folder = clone / module
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            if path.name not in ("CMakeLists.txt", "README.md"):
                assert (scripted / path.relative_to(folder)).is_file(), path
    for path in [path for path in (clone / "Resources" / "Models").rglob("*") if path.is_file()]:
        assert (scripted / path.relative_to(clone)).read_bytes() == path.read_bytes()
    (description,) = top.rglob("VirtualContrast.s4ext")
    said = dict(re.findall(r"^(\w+) (.*)$", description.read_text(encoding="utf-8"), re.MULTILINE))
    assert said["depends"] == "PyTorch"
    assert said["iconurl"] == cmake_variables()["EXTENSION_ICONURL"]


@pytest.mark.slow
def test_the_unpacked_package_runs(package, tmp_path):
    scripted = package[1] / "lib" / f"Slicer-{SLICER}" / "qt-scripted-modules"
    environment = {**os.environ, "PYTHONPATH": str(scripted)}
    for line in ("VirtualContrastLib models verify phantom-joint-p1-p3", "VirtualContrastTrainingLib train --list"):
        command = [sys.executable, "-m", *line.split()]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
