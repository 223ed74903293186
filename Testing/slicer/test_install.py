"""Packages on demand: asked first, nothing of Slicer's own replaced, every outcome told."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import slicer
import slicer.packaging
from module_samples import MODULE, REPOSITORY, add_pre
from VirtualContrastLib.slicer_app.run import install
from VirtualContrastTrainingLib.slicer_app import packages

SLICER_HAS = {"numpy", "scipy", "SimpleITK", "vtk", "slicer", "qt", "ctk", "SampleData", "PyTorchUtils"} | {
    "PIL", "packaging", "VirtualContrastLib"
}  # fmt: skip


@pytest.fixture
def questions(host, monkeypatch):
    """Answers "yes" to the question and keeps it; outside of testing mode, so that installations happen."""
    asked, answer = [], [True]

    def confirm(text, title=None, **_):
        asked.append(text)
        return answer[0]

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    with host.interactive():
        yield asked, answer


def test_nothing_is_asked_where_nothing_is_missing(questions):
    install.ensure_packages()
    assert questions[0] == []
    assert slicer.packaging.host.calls == []


def test_torch_comes_through_its_extension_and_the_rest_without_replacing_what_slicer_has(questions):
    slicer.packaging.host.missing |= {"torch", "nnunetv2", "highdicom"}
    assert install.missing_packages() == ["torch", "nnunetv2", "highdicom"]
    install.ensure_packages()
    assert len(questions[0]) == 1
    assert "torch, nnunetv2, highdicom" in questions[0][0]
    torch, rest = slicer.packaging.host.calls
    assert (torch["requester"], torch["requirements"]) == ("PyTorchUtils", [install.TORCH])
    assert set(rest["skip_packages"]) == {"SimpleITK", "numpy", "torch", "torchvision", "scipy", "requests"}
    assert {re.split(r"\W", text)[0] for text in rest["requirements"]} == {"nnunetv2", "highdicom"}
    assert install.missing_packages() == []


def test_a_no_installs_nothing_and_says_so(questions):
    slicer.packaging.host.missing |= {"torch", "highdicom"}
    questions[1][0] = False
    with pytest.raises(install.NotInstalledError, match="Nothing was installed"):
        install.ensure_packages()
    assert slicer.packaging.host.calls == []


@pytest.mark.parametrize("missing", ["torch", "highdicom"])
def test_a_failed_installation_is_one_sentence(questions, missing):
    slicer.packaging.host.missing.add(missing)
    slicer.packaging.host.outcome = "fail"
    with pytest.raises(install.NotInstalledError, match=r"exit code 1\); check the network"):
        install.ensure_packages()


@pytest.mark.parametrize("error", [ImportError("no light_the_torch"), OSError("DLL load failed")])
def test_a_torch_that_does_not_load_is_one_sentence(questions, monkeypatch, error):
    import PyTorchUtils

    def fail(*_args, **_keywords):
        raise error

    monkeypatch.setattr(PyTorchUtils.PyTorchUtilsLogic, "installTorch", fail)
    slicer.packaging.host.missing.add("torch")
    with pytest.raises(install.NotInstalledError, match=f"did not succeed .{error}."):
        install.ensure_packages()
    assert not install.under_way()


def test_a_part_that_could_not_be_installed_is_missed_and_asked_for_again(questions, monkeypatch):
    """Slicer only logs it, and the requirement that needs it counts as installed."""
    monkeypatch.setattr(install, "_whole", set())
    slicer.packaging.host.missing.add("acvl-utils")  # nnU-Net's
    assert install.missing_packages() == ["acvl-utils"]
    install.ensure_packages()
    ((call),) = slicer.packaging.host.calls
    assert [text.partition(">")[0].partition("<")[0].partition("=")[0] for text in call["requirements"]] == [
        "acvl-utils"
    ]
    assert install.missing_packages() == []


def test_apply_waits_while_packages_are_installed(questions, panel, monkeypatch):
    """The event loop goes on meanwhile, and a second click would ask and install again."""
    import PyTorchUtils

    slicer.packaging.host.missing.add("torch")
    panel.enter()
    panel.ui.inputSelector.setCurrentNode(add_pre())
    seen = []

    def install_torch(*_args, **_keywords):
        slicer.app.processEvents()
        seen.append((panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip))
        with pytest.raises(install.NotInstalledError, match="wait"):
            install.ensure_packages()
        raise RuntimeError("enough")

    monkeypatch.setattr(PyTorchUtils.PyTorchUtilsLogic, "installTorch", install_torch)
    panel.ui.applyButton.click()
    assert seen == [(False, "Packages are being installed.")]
    assert panel.ui.applyButton.enabled
    assert "did not succeed (enough)" in panel.ui.statusLabel.text


def test_without_the_pytorch_extension_the_user_is_told_to_install_it(questions, monkeypatch):
    slicer.packaging.host.missing.add("torch")
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(install.NotInstalledError, match="Extensions Manager"):
        install.ensure_packages()


def test_what_is_still_missing_afterwards_is_told(host, monkeypatch):
    """In testing mode Slicer installs nothing and returns as if it had."""
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: True)
    slicer.packaging.host.missing.add("highdicom")
    with pytest.raises(install.NotInstalledError, match="still missing: highdicom"):
        install.ensure_packages()


@pytest.mark.parametrize(
    ("file", "groups"),
    [
        (install.REQUIREMENTS, ["engine"]),
        (install.SENDING_REQUIREMENTS, ["dicom-send", "engine"]),
        (packages.TRAINING_REQUIREMENTS, ["training", "engine"]),
    ],
)
def test_every_required_package_is_one_of_the_projects_and_none_is_pinned(file, groups):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    floors = {re.split(r"[<>=]", line)[0]: line for group in groups for line in project[group]}
    for requirement in slicer.packaging.load_requirements(file):
        assert str(requirement.specifier) and "==" not in str(requirement.specifier)
        assert floors[requirement.name].replace(" ", "") in (
            str(requirement),
            f"{requirement.name}{','.join(str(requirement.specifier).split(',')[::-1])}",
        )
    assert install.TORCH.startswith(project["engine"][0])


def test_the_training_module_asks_for_both_lists_in_its_own_name(questions):
    slicer.packaging.host.missing |= {"torch", "highdicom", "lightning"}
    assert install.missing_packages() == ["torch", "highdicom"]
    assert install.missing_packages(packages.TRAINING) == ["torch", "highdicom", "lightning"]
    assert "Start asks" in install.explanation(["torch"], packages.TRAINING)
    questions[1][0] = False
    with pytest.raises(install.NotInstalledError, match="press Start to be asked again"):
        install.ensure_packages(packages.TRAINING)
    questions[1][0] = True
    install.ensure_packages(packages.TRAINING)
    assert "VirtualContrastTraining needs" in questions[0][-1]
    _torch, rest = slicer.packaging.host.calls
    assert rest["requester"] == "VirtualContrastTraining"
    assert {re.split(r"\W", text)[0] for text in rest["requirements"]} == {"highdicom", "lightning"}
    assert set(rest["skip_packages"]) >= {"SimpleITK", "numpy", "torch"}


def test_loading_the_module_imports_no_third_party_package():
    """In a fresh interpreter that has none but what Slicer ships: an import of any other fails there."""
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in BLOCKED: raise ImportError('refused ' + name)\n"
        "BLOCKED = {'torch', 'nnunetv2', 'pydantic', 'safetensors', 'skimage', 'matplotlib', 'psutil', 'pydicom', "
        "'highdicom', 'nibabel', 'rich', 'radiomics', 'pandas'}\n"
        f"sys.path[:0] = [{str(REPOSITORY / 'Testing' / 'host')!r}, {str(MODULE.parent)!r}]\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import slicer_host; host = slicer_host.boot()\n"
        "import slicer.packaging\n"
        "slicer.packaging.host.missing |= {'torch', 'nnunetv2', 'pydantic', 'safetensors'}\n"
        f"panel = host.load_module({str(MODULE)!r}).widgetRepresentation().self()\n"
        "print(panel.ui.packagesLabel.text)\n"
        "print(panel.ui.modelCardLabel.text, panel.ui.applyButton.toolTip)\n"
        "import qt; assert not qt.slotErrors, qt.slotErrors\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch, nnunetv2, safetensors, pydantic" in done.stdout
    assert "Select a pre-contrast volume first." in done.stdout


def test_every_package_that_the_library_imports_is_slicers_required_or_optional():
    """Optional: rich (terminal only), OpenVINO, ONNX Runtime, pynetdicom, dicomweb-client, distributed, radiomics."""
    required = {requirement.name for requirement in slicer.packaging.load_requirements(install.REQUIREMENTS)}
    optional = {
        "acvl_utils",
        "rich",
        "openvino",
        "onnxruntime",
        "pynetdicom",
        "dicomweb_client",
        "requests",  # comes with dicomweb-client
        "distributed",
        "radiomics",
    }
    assert_imports_only(MODULE.parent / "VirtualContrastLib", imported(required) | optional)


def test_every_package_that_the_training_library_imports_is_slicers_required_or_optional():
    """Optional: radiomics (evaluation only)."""
    required = {requirement.name for requirement in packages.TRAINING.requirements()}
    library = REPOSITORY / "VirtualContrastTraining" / "VirtualContrastTrainingLib"
    assert_imports_only(library, imported(required) | {"VirtualContrastTrainingLib", "radiomics"})


def imported(required):
    """The names by which packages are imported."""
    names = {"scikit-image": "skimage", "pillow": "PIL", "pyyaml": "yaml"}
    return {names.get(name, name) for name in required}


def assert_imports_only(library, known):
    known = SLICER_HAS | known | {"torch"} | set(sys.stdlib_module_names)
    for path in library.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            unknown = {name.split(".")[0] for name in found} - known
            assert not unknown, f"{path.name} imports {unknown}, which no requirements file names"
