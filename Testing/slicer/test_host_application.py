"""The stand-in application: processes, packages, subject hierarchy, settings, sample data."""

import subprocess
import sys
import time

import numpy as np
import pytest
import qt
import SampleData
import SimpleITK as sitk
import sitkUtils
import slicer
import slicer.packaging
import vtk
from host_samples import DEMO, HOST_FOLDER, IJK_TO_RAS


def test_a_background_process_leaves_the_event_loop_free(host):
    lines, codes = [], []
    command = "import time; print('one', flush=True); time.sleep(0.2); print('two'); raise SystemExit(3)"
    slicer.util.launchConsoleProcess(
        [sys.executable, "-c", command], blocking=False, logCallback=lines.append, completedCallback=codes.append
    )
    assert codes == []
    host.wait_until(lambda: codes)
    assert (lines, codes) == (["one", "two"], [3])


def test_a_blocked_event_loop_is_noticed(host):
    with host.watch_event_loop() as longest_s:
        host.process_events(0.05)
        assert longest_s() < host.patience(0.5)
        qt.QTimer.singleShot(0, lambda: time.sleep(2.0))
        host.process_events(0.05)
        assert longest_s() > 1.0  # less what its threads waited for a processor


def test_without_main_window_there_are_no_views_and_the_logic_works(tmp_path):
    script = tmp_path / "headless.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(HOST_FOLDER)!r}, {str(DEMO.parent)!r}]\n"
        "import slicer_host; slicer_host.boot(main_window=False)\n"
        "import numpy as np, slicer\n"
        "from HostDemo import HostDemoLogic\n"
        "volume = slicer.util.addVolumeFromArray(np.arange(60.0).reshape(3, 4, 5))\n"
        "node = HostDemoLogic().process(volume, 50)\n"
        "print(slicer.app.layoutManager(), slicer.util.mainWindow(), node.GetSegmentation().GetNumberOfSegments())\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["None", "None", "1"], done.stderr
    assert done.returncode == 0


def test_qprocess_reports_output_and_exit_code(host):
    process, codes = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: codes.append(code))
    process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(4)"])
    host.wait_until(lambda: codes)
    assert codes == [4]
    assert process.readAllStandardOutput().data().strip() == b"hello"


def test_packages_are_asked_for_and_never_installed(host):
    installation = slicer.packaging.host
    installation.missing.add("pydicom")
    assert slicer.packaging.pip_check("numpy>=1.0")
    assert not slicer.packaging.pip_check("pydicom")
    slicer.packaging.pip_ensure("pydicom", requester="Demo")  # testing mode: nothing happens
    assert installation.calls == []
    with host.interactive():
        installation.outcome = "decline"
        with pytest.raises(RuntimeError, match="declined"):
            slicer.packaging.pip_ensure("pydicom", requester="Demo")
        installation.outcome = "fail"
        with pytest.raises(subprocess.CalledProcessError):
            slicer.packaging.pip_ensure("pydicom", requester="Demo")
        installation.outcome = "install"
        slicer.packaging.pip_ensure(["numpy", "pydicom>=2"], skip_packages=["numpy"], requester="Demo")
    assert installation.calls[-1]["requirements"] == ["pydicom>=2"]
    assert installation.calls[-1]["skip_packages"] == ["numpy"]
    assert slicer.packaging.pip_check("pydicom")


def test_data_nodes_get_a_subject_hierarchy_item_and_go_with_their_folder(host, volume):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volume)
    assert item
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Run 1")
    hierarchy.SetItemParent(item, folder)
    hierarchy.RemoveItem(folder, True, True)
    assert slicer.mrmlScene.GetFirstNodeByName("T1") is None


def test_settings_stay_in_the_temporary_folder(host):
    qt.QSettings().setValue("Demo/answer", 42)
    assert slicer.util.settingsValue("Demo/answer", 0, int) == 42
    assert qt.QSettings().fileName().startswith(slicer.app.temporaryPath)


@pytest.mark.stand_in
def test_sample_data_registers_and_loads_local_files(host, volume, tmp_path):
    path = tmp_path / "phantom.nrrd"
    slicer.util.saveNode(volume, str(path))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Demo", sampleName="Phantom", uris=path.as_uri(), fileNames="phantom.nrrd", nodeNames="Phantom"
    )
    node = SampleData.downloadSample("Phantom")
    assert node.GetName() == "Phantom"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVolume(volume))
    with pytest.raises(RuntimeError, match="downloads nothing"):
        SampleData.SampleDataLogic().downloadFromSource(
            SampleData.SampleDataSource(uris="https://example.org/x.nrrd", fileNames="x.nrrd", nodeNames="x")
        )


def test_a_volume_goes_to_simpleitk_and_back_with_its_geometry(host, volume):
    image = sitkUtils.PullVolumeFromSlicer(volume)
    assert image.GetSpacing() == pytest.approx((2.0, 1.5, 3.0))
    corner = image.TransformContinuousIndexToPhysicalPoint([3.0, 4.0, 5.0])
    ras = IJK_TO_RAS @ [3, 4, 5, 1]
    assert corner == pytest.approx((-ras[0], -ras[1], ras[2]))
    node = sitkUtils.PushVolumeToSlicer(sitk.Cast(image, sitk.sitkInt16), name="back")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), IJK_TO_RAS)
