"""What CTK's widgets do: numbers, paths, folding boxes, colors."""

# ruff: noqa: N801, N815 (these are Slicer's names)

from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets

from .base import StandIn, qMRMLWidget


class _Number(StandIn):
    """A value with range, decimals and unit, shown in a spin box (and a slider)."""

    defaults: ClassVar[dict[str, Any]] = {
        "maximum": 99.0,
        "singleStep": 1.0,
        "decimals": 2,
        "spinBoxVisible": True,
        "tracking": True,
    }
    with_slider = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider, self._spin = (
            QtWidgets.QSlider(QtCore.Qt.Horizontal, self),
            QtWidgets.QDoubleSpinBox(self),
        )
        self._slider.setRange(0, 1000)
        self._slider.setVisible(self.with_slider)
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._slider.sliderMoved.connect(lambda v: self.setValue(self.minimum + self._span() * v / 1000))
        self._spin.valueChanged.connect(self.setValue)

    def _span(self) -> float:
        return self.maximum - self.minimum

    def _write(self, name: str, value: Any) -> None:
        if name == "value":
            value = min(max(round(value, self.decimals), self.minimum), self.maximum)
        super()._write(name, value)

    def _changed(self, name: str, value: Any) -> None:
        blocker = QtCore.QSignalBlocker(self._spin)
        if name in ("minimum", "maximum", "decimals", "singleStep", "suffix", "prefix", "value"):
            setattr(self._spin, name, value)
        blocker.unblock()
        if name == "spinBoxVisible":
            self._spin.setVisible(value)
        if name in ("minimum", "maximum"):
            self.setValue(self.value)
        if name == "value":
            self._slider.value = int(1000 * (value - self.minimum) / self._span()) if self._span() else 0
            self._emit("valueChanged(double)", value)


class ctkSliderWidget(_Number):
    """Slider and spin box."""


class qMRMLSliderWidget(ctkSliderWidget, qMRMLWidget):
    """The same with the scene's units."""


class ctkDoubleSpinBox(_Number):
    """Spin box."""

    defaults: ClassVar[dict[str, Any]] = {"maximum": 99.99, "singleStep": 1.0, "decimals": 2}
    with_slider = False


class ctkRangeWidget(StandIn):
    """A lower and an upper value."""

    defaults: ClassVar[dict[str, Any]] = {"maximum": 99.0, "maximumValue": 99.0, "singleStep": 1.0, "decimals": 2}

    def setRange(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def setValues(self, lower: float, upper: float) -> None:
        self.minimumValue, self.maximumValue = lower, upper

    def _changed(self, name: str, value: Any) -> None:
        if name in ("minimumValue", "maximumValue"):
            self._emit(f"{name}Changed(double)", value)
            self._emit("valuesChanged(double,double)", self.minimumValue, self.maximumValue)


class ctkPathLineEdit(StandIn):
    """A path to type, with its history, and a browse button (which opens nothing here).

    As in CTK it tells of every key stroke and never of an emptied text, and a set path is written even where it is the
    same, which moves the cursor to the end.
    """

    defaults: ClassVar[dict[str, Any]] = {"showBrowseButton": True, "showHistoryButton": True}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo, browse = QtWidgets.QComboBox(self), QtWidgets.QToolButton(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        browse.setText("...")
        layout.addWidget(self._combo)
        layout.addWidget(browse)
        self._valid = False
        self._combo.lineEdit().textChanged.connect(self._text_changed)

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def addCurrentPathToHistory(self) -> None:
        pass

    def _read(self, name: str, python_type: type) -> Any:
        return self._combo.lineEdit().text if name == "currentPath" else super()._read(name, python_type)

    def _write(self, name: str, value: Any) -> None:
        if name == "currentPath":
            self._combo.lineEdit().setText(value)
        else:
            super()._write(name, value)

    def _text_changed(self, text: str) -> None:
        was_valid, self._valid = self._valid, bool(text)
        if self._valid:
            self._emit("currentPathChanged(QString)", text)
        if self._valid != was_valid:
            self._emit("validInputChanged(bool)", self._valid)


class ctkDirectoryButton(StandIn):
    """A directory; the button opens no dialog here."""

    def _changed(self, name: str, value: Any) -> None:
        if name == "directory":
            self._emit("directoryChanged(QString)", value)


class _Collapsible(StandIn):
    """Children are hidden while ``collapsed``, also those added later."""

    def _collapse(self, collapsed: bool) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)
        self.updateGeometry()

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        if event.added() and self.collapsed and isinstance(event.child(), QtWidgets.QWidget):
            event.child().setVisible(False)

    def _changed(self, name: str, value: Any) -> None:
        if name == "collapsed":
            self._collapse(value)


class ctkCollapsibleButton(_Collapsible):
    """A header bar that folds what is below it."""

    header_height = 22

    def __init__(self, parent: QtWidgets.QWidget | str | None = None) -> None:
        title = parent if isinstance(parent, str) else ""
        super().__init__(None if title else parent)
        self.text = title
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, self.header_height, 0, 2)
        self.clicked.connect(lambda: setattr(self, "collapsed", not self.collapsed))

    def _changed(self, name: str, value: Any) -> None:
        super()._changed(name, value)
        if name == "collapsed":
            self._emit("contentsCollapsed(bool)", value)

    def sizeHint(self) -> QtCore.QSize:
        contents = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(80, self.header_height)
        return QtCore.QSize(max(contents.width(), 120), self.header_height if self.collapsed else contents.height())

    minimumSizeHint = sizeHint

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width, self.header_height - 2)
        painter.fillRect(bar, QtGui.QColor(214, 219, 228))
        painter.setPen(QtGui.QColor(40, 60, 100))
        arrow = (
            "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if self.collapsed else "\N{BLACK DOWN-POINTING SMALL TRIANGLE}"
        )
        painter.drawText(bar.adjusted(5, 0, 0, 0), QtCore.Qt.AlignVCenter, f"{arrow}  {self.text}")
        painter.end()


class ctkCollapsibleGroupBox(_Collapsible):
    """A group box that folds."""


class ctkColorPickerButton(StandIn):
    """A color; the button opens no dialog here."""

    def _changed(self, name: str, value: Any) -> None:
        if name == "color":
            self._emit("colorChanged(QColor)", value)
