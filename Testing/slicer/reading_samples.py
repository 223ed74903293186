"""Reading lists for the tests of blinded reading, and what a reader does and sees."""

import re

import numpy as np
import qt
import SimpleITK as sitk
import slicer
from module_samples import MODULE
from VirtualContrastLib.reader_study import answers
from VirtualContrastLib.reader_study.study_list import ReadingCase, write_list
from VirtualContrastLib.slicer_app.reader import views

READ = "A N Return R N Return"
"""Keys that answer both pages."""
TYPES = {"real": np.int16, "synthetic": np.float32}


def write_volumes(tmp_path):
    """A list of three cases with real and synthetic volumes and the pre-contrast one beside; the answers' folder."""
    (tmp_path / "answers").mkdir()
    rows = []
    for n in range(3):
        pre = write_volume(tmp_path / f"pre_{n}.nrrd", n, np.int16)
        for condition, dtype in TYPES.items():
            path = write_volume(tmp_path / f"{condition}_{n}.nrrd", 10 + n, dtype)
            rows.append(ReadingCase(f"C{n}", str(path), condition, truth=n == 0, beside=str(pre)))
    return write_list(tmp_path / "list.csv", rows)


def open_panel(host):
    panel = host.load_module(MODULE).widgetRepresentation().self().panel
    panel._device_timer.setInterval(600_000)
    return panel


def write_volume(path, seed, dtype, shape=(6, 40, 48)):
    values = np.random.default_rng(seed).gamma(2.0, 100.0, shape)
    image = sitk.GetImageFromArray(values.astype(dtype))
    image.SetSpacing((1.5, 1.25, 3.0))
    image.SetOrigin((-30.0, -20.0, 5.0))
    if dtype is np.float32:
        image.SetMetaData("NRRD_content", "SYNTHETIC research only")
    sitk.WriteImage(image, str(path))
    return path


def start(host, panel, reading_list, reader="R1", session=1, *, back=False):
    ui = panel.reading.ui
    ui.listPath.currentPath = str(reading_list.path)
    ui.answersPath.currentPath = str(reading_list.path.parent / "answers")
    ui.readerEdit.text, ui.sessionSpinBox.value, ui.allowBackCheckBox.checked = reader, session, back
    ui.startButton.click()
    if panel.reading.active:
        wait_for_image(host, panel)


def wait_for_image(host, panel):
    host.wait_until(lambda: panel.reading.session is None or panel.reading.session.is_shown)


def press(panel, keys):
    """Press keys by their names, such as "B N R Return"."""
    for key in keys.split():
        (shortcut,) = [s for s in panel.reading._shortcuts if s.key == qt.QKeySequence(key)]
        shortcut.activated.emit()


def log_of(reading_list, reader="R1", session=1):
    return answers.load(answers.path_of(reading_list.path.parent / "answers", reader, session))


def scene_texts():
    """Every text that a reader could find: of nodes, their attributes and files, and of the subject hierarchy."""
    texts = []
    scene = slicer.mrmlScene
    for node in [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]:
        if node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLStorageNode"):
            texts += [node.GetName(), node.GetDescription()]
            texts += [node.GetAttribute(name) for name in node.GetAttributeNames()]
            texts += [node.GetFileName()] if node.IsA("vtkMRMLStorageNode") else []
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    children = slicer.util.getSubjectHierarchyItemChildren(recursive=True)
    return texts + [hierarchy.GetItemName(item) for item in children]


def panel_texts(panel):
    labels = [w.text for w in panel.widget.findChildren(qt.QLabel) if not w.isHidden()]
    return [re.sub(r"Image \d of", "Image N of", text) for text in labels]


def shown_labels(panel):
    return {actor.GetInput() for _, actor in panel.results.annotator._actors.values()}


def looks(panel):
    """All that is to be seen of the present image besides its picture."""
    (volume,) = [v for v in slicer.util.getNodesByClass("vtkMRMLVolumeNode") if v.GetName() == "Image"]
    view = volume.GetDisplayNode()
    return {
        "texts": scene_texts(), "panel": panel_texts(panel), "labels": shown_labels(panel),
        "type": volume.GetImageData().GetScalarTypeAsString(), "window": (view.GetWindow(), view.GetLevel()),
        "views": [slicer.app.layoutManager().sliceWidget(tag).mrmlSliceNode().GetLayoutLabel()
                  for tag in (views.IMAGE, views.BESIDE)],
        "title": slicer.util.mainWindow().windowTitle,
    }  # fmt: skip
