"""The stand-in's Qt layer refuses what PythonQt and Slicer would refuse; parameter nodes."""

from enum import Enum
from typing import Annotated

import ctk
import numpy as np
import pytest
import qt
import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


def test_a_property_is_a_value_and_not_a_method(host):
    button = qt.QPushButton("Apply")
    button.enabled = False
    assert (button.text, button.enabled, button.isEnabled()) == ("Apply", False, False)
    with pytest.raises(TypeError):
        button.text()


@pytest.mark.parametrize(
    ("widget", "name", "value"),
    [
        ("QPushButton", "tooltip", "no such property"),
        ("QPushButton", "clicked", "overwrites a signal"),
        ("ctkSliderWidget", "max", 3),
        ("ctkSliderWidget", "value", "three"),
    ],
)
def test_a_wrong_attribute_is_refused(host, widget, name, value):
    instance = getattr(ctk if widget.startswith("ctk") else qt, widget)()
    with pytest.raises(AttributeError):
        setattr(instance, name, value)


def test_a_wrong_signal_signature_is_refused(host):
    with pytest.raises(ValueError, match="no signal"):
        ctk.ctkSliderWidget().connect("valueChanged(int)", print)
    with pytest.raises(ValueError, match="no signal"):
        slicer.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLVolumeNode*)", print)


def test_a_slot_gets_the_arguments_it_declares(host):
    button, got = qt.QPushButton(), []
    slot = lambda checked: got.append(checked)  # noqa: E731
    button.connect("clicked(bool)", slot)
    button.connect("clicked()", lambda: got.append("none"))
    button.click()
    assert button.disconnect("clicked(bool)", slot)
    button.click()
    assert got == [False, "none", "none"]


def test_an_unknown_widget_class_in_a_ui_file_is_an_error(host, tmp_path):
    file = tmp_path / "x.ui"
    file.write_text('<ui version="4.0"><widget class="ctkNoSuchWidget" name="x"/></ui>')
    with pytest.raises(RuntimeError, match="ctkNoSuchWidget"):
        slicer.util.loadUI(str(file))


def test_a_node_selector_offers_nodes_of_its_class_and_attribute(host, volume):
    other = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4)), name="other")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 2
    assert selector.currentNode() is volume
    other.SetAttribute("role", "post")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "role", "post")
    assert selector.currentNode() is other
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    slicer.mrmlScene.RemoveNode(other)
    assert seen == [None]


def test_a_table_view_shows_the_cells_and_tells_of_a_selection(host):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "Lesions")
    view, selections = slicer.qMRMLTableView(), []
    view.setMRMLTableNode(node)
    slicer.util.updateTableFromArray(node, [np.array([1, 2]), np.array([30.5, 40.5])], ["Lesion", "Volume"])
    assert (view.model().rowCount(), view.model().columnCount()) == (2, 2)
    assert view.model().item(1, 1).text() == "40.5"
    view.connect("selectionChanged()", lambda: selections.append(view.currentIndex().row()))
    view.selectRow(1)
    assert selections == [1]


def test_a_collapsible_button_hides_its_children(host):
    button = ctk.ctkCollapsibleButton()
    child, folded = qt.QLabel("inside", button), []
    button.connect("contentsCollapsed(bool)", folded.append)
    button.show()
    assert child.visible
    button.click()
    assert (child.visible, button.collapsed, folded) == (False, True, [True])
    button.hide()


class Color(Enum):
    RED = 1
    BLUE = 2


def test_parameters_have_the_texts_that_slicer_writes(host):
    @parameterNodeWrapper
    class Wrapper:
        flag: bool
        color: Color = Color.BLUE
        size: Annotated[float, WithinRange(0, 1)] = 0.5
        names: list[str]
        limit: int | None

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    wrapper = Wrapper(node)
    wrapper.names = ["a", "b"]
    wrapper.limit = 4
    texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    assert texts == {
        "flag": "False",
        "color": "BLUE",
        "size": "0.5",
        "names.len": "2",
        "names.0": "a",
        "names.1": "b",
        "limit.0": "4",
    }
    wrapper.names.append("c")
    assert list(Wrapper(node).names) == ["a", "b", "c"]
    node.SetParameter("flag", "True")
    assert wrapper.flag is True


@pytest.mark.stand_in
def test_a_parameter_of_an_unknown_type_is_refused(host):
    with pytest.raises(TypeError, match="no serializer"):

        @parameterNodeWrapper
        class Wrapper:
            anything: bytes
