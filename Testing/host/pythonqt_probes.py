"""Small calls of Qt as panels make them, each a probe of how Qt answers Python.

`pythonqt_answers.json` holds what PythonQt 4.1.0 with Qt 5.15.8 answered; Testing/slicer/test_host_pythonqt.py holds the
host against it. To ask another PythonQt, run this file in it with the path of a JSON file as the last argument.
"""

# ruff: noqa: E501, E721, F841

import functools
import json
import pathlib
import re
import sys
import tempfile

import numpy as np
import qt

keep = []
INI = str(pathlib.Path(tempfile.mkdtemp()) / "probe.ini")


class Rec:
    """Records how a slot is called, with signatures of every kind."""

    def __init__(self):
        self.calls = []

    def one(self, a):
        self.calls.append((a,))

    def none(self):
        self.calls.append(())

    def default(self, a="d"):
        self.calls.append((a,))

    def star(self, *a):
        self.calls.append(a)

    def __call__(self, *a):
        self.calls.append(a)


def kept(thing):
    keep.append(thing)
    return thing


def L():
    return kept(qt.QLabel("a"))


def S():
    return kept(qt.QSpinBox())


def B():
    return kept(qt.QPushButton("x"))


def emit(slot, sig="clicked(bool)"):
    b = B()
    b.checkable = True
    b.connect(sig, slot)
    b.click()


def slot(f):
    r = Rec()
    emit(f(r))
    return r.calls


def answer(probe):
    """What a probe gives, in one line; "RAISES ..." where it raises."""
    try:
        text = re.sub(r"0x[0-9a-f]+", "0x..", repr(probe()))
    except Exception as error:  # noqa: BLE001
        return f"RAISES {type(error).__name__}: {str(error).splitlines()[0][:90] if str(error) else ''}"
    return text[:110]


PROBES = {
    "label.text()": lambda: L().text(),
    "label.text": lambda: L().text,
    "label.text = 5": lambda: (setattr(x := L(), "text", 5), x.text),
    "label.text = None": lambda: (setattr(x := L(), "text", None), x.text),
    "label.text = Path": lambda: (setattr(x := L(), "text", pathlib.Path("/a")), x.text),
    "label.setText(5)": lambda: (x := L(), x.setText(5), x.text)[2],
    "label.setText(Path)": lambda: (x := L(), x.setText(pathlib.Path("/a")), x.text)[2],
    "label.setText(None)": lambda: (x := L(), x.setText(None), x.text)[2],
    'button.enabled = "yes"': lambda: (setattr(x := B(), "enabled", "yes"), x.enabled),
    'button.enabled = ""': lambda: (setattr(x := B(), "enabled", ""), x.enabled),
    "button.enabled = 1": lambda: (setattr(x := B(), "enabled", 1), x.enabled),
    "button.enabled = None": lambda: (setattr(x := B(), "enabled", None), x.enabled),
    "button.enabled = []": lambda: (setattr(x := B(), "enabled", []), x.enabled),
    "button.enabled = np.True_": lambda: (setattr(x := B(), "enabled", np.True_), x.enabled),
    "spin.value = 3.0": lambda: (setattr(x := S(), "value", 3.0), x.value),
    "spin.value = 3.7": lambda: (setattr(x := S(), "value", 3.7), x.value),
    'spin.value = "3"': lambda: (setattr(x := S(), "value", "3"), x.value),
    "spin.value = np.int64(3)": lambda: (setattr(x := S(), "value", np.int64(3)), x.value),
    "spin.setValue(3.7)": lambda: (x := S(), x.setValue(3.7), x.value)[2],
    "spin.setValue(np.int64(3))": lambda: (x := S(), x.setValue(np.int64(3)), x.value)[2],
    "dspin.value = np.float64(3)": lambda: (
        x := qt.QDoubleSpinBox(),
        keep.append(x),
        setattr(x, "value", np.float64(3)),
        x.value,
    )[3],
    "dspin.value = np.float32(3)": lambda: (
        x := qt.QDoubleSpinBox(),
        keep.append(x),
        setattr(x, "value", np.float32(3)),
        x.value,
    )[3],
    "dspin.value = 3 (int)": lambda: (x := qt.QDoubleSpinBox(), keep.append(x), setattr(x, "value", 3), x.value)[3],
    "widget.foo = 1": lambda: setattr(B(), "foo", 1),
    "widget.foo": lambda: B().foo,
    "setProperty then attribute": lambda: (x := B(), x.setProperty("foo", 3), x.foo)[2],
    'property("unset")': lambda: B().property("nothing"),
    "widget.size()": lambda: B().size(),
    "widget.size.width()": lambda: B().size.width(),
    "widget.parent()": lambda: B().parent(),
    "widget.parent": lambda: callable(B().parent),
    "widget.isVisible()": lambda: B().isVisible(),
    "widget.visible": lambda: B().visible,
    "widget.isEnabled()": lambda: B().isEnabled(),
    "widget.isActiveWindow": lambda: callable(B().isActiveWindow),
    "checkbox.isChecked()": lambda: qt.QCheckBox("a").isChecked(),
    "combo.count()": lambda: qt.QComboBox().count(),
    "combo.currentIndex()": lambda: qt.QComboBox().currentIndex(),
    "combo.currentText": lambda: qt.QComboBox().currentText,
    "combo.addItems(list)": lambda: (x := qt.QComboBox(), x.addItems(["a", "b"]), x.count)[2],
    'combo.addItem("a", 5); itemData': lambda: (x := qt.QComboBox(), x.addItem("a", 5), x.itemData(0))[2],
    'combo.addItem("a", object)': lambda: (x := qt.QComboBox(), o := Rec(), x.addItem("a", o), x.itemData(0) is o)[3],
    "combo.addItems(generator)": lambda: (x := qt.QComboBox(), x.addItems(str(i) for i in range(2)), x.count)[2],
    "combo.addItems(tuple)": lambda: (x := qt.QComboBox(), x.addItems(("a", "b")), x.count)[2],
    "Qt.AlignmentFlag.AlignCenter": lambda: int(qt.Qt.AlignmentFlag.AlignCenter),
    "Qt.AlignCenter": lambda: int(qt.Qt.AlignCenter),
    "Qt.AlignLeft | Qt.AlignTop": lambda: int(qt.Qt.AlignLeft | qt.Qt.AlignTop),
    "type(Qt.Checked)": lambda: type(qt.Qt.Checked).__name__,
    "Qt.Checked == 2": lambda: qt.Qt.Checked == 2,
    'f"{Qt.Checked}"': lambda: f"{qt.Qt.Checked}",
    "QProcess.CrashExit": lambda: qt.QProcess.CrashExit,
    "QProcess.ExitStatus.CrashExit": lambda: qt.QProcess.ExitStatus.CrashExit,
    'QPushButton(text="x")': lambda: qt.QPushButton(text="x").text,
    'QLabel("a", parent=w)': lambda: qt.QLabel("a", parent=B()).text,
    "QTimer(singleShot=True)": lambda: qt.QTimer(singleShot=True).isSingleShot(),
    "timer.singleShot": lambda: callable(qt.QTimer().singleShot),
    "timer.isActive()": lambda: qt.QTimer().isActive(),
    "timer.active": lambda: qt.QTimer().active,
    "timer.interval()": lambda: qt.QTimer().interval(),
    "timer.timeout.connect": lambda: qt.QTimer().timeout.connect(lambda: 0),
    "connect unknown signal": lambda: B().connect("nosuch()", lambda: 0),
    "connect clicked(int)": lambda: B().connect("clicked(int)", lambda: 0),
    "connect clicked()": lambda: B().connect("clicked()", lambda: 0),
    'connect "clicked"': lambda: B().connect("clicked", lambda: 0),
    "disconnect never connected": lambda: B().disconnect("clicked(bool)", lambda: 0),
    "slot method 1 arg": lambda: slot(lambda r: r.one),
    "slot method 0 args": lambda: slot(lambda r: r.none),
    "slot method default arg": lambda: slot(lambda r: r.default),
    "slot *args": lambda: slot(lambda r: r.star),
    "slot lambda i=5": lambda: slot(lambda r: lambda i=5: r.one(i)),
    "slot partial": lambda: slot(lambda r: functools.partial(r.star, "p")),
    "slot callable object": lambda: slot(lambda r: r),
    "slot kw-only": lambda: slot(lambda r: lambda *, a=1: r.one(a)),
    "slot builtin list.append": lambda: (x := [], emit(x.append), x)[2],
    "clicked.connect(method 0 args)": lambda: (r := Rec(), b := B(), b.clicked.connect(r.none), b.click(), r.calls)[4],
    "clicked.emit()": lambda: (r := Rec(), b := B(), b.clicked.connect(r.star), b.clicked.emit(), r.calls)[4],
    "clicked.emit(True)": lambda: (r := Rec(), b := B(), b.clicked.connect(r.star), b.clicked.emit(True), r.calls)[4],
    "clicked()": lambda: (r := Rec(), b := B(), b.clicked.connect(r.star), b.clicked(), r.calls)[4],
    "clicked.disconnect(f)": lambda: (
        r := Rec(),
        b := B(),
        b.clicked.connect(r.star),
        b.clicked.disconnect(r.star),
        b.click(),
        r.calls,
    )[5],
    "clicked.disconnect()": lambda: (
        r := Rec(),
        b := B(),
        b.clicked.connect(r.star),
        b.clicked.disconnect(),
        b.click(),
        r.calls,
    )[5],
    'QByteArray(b"a").data()': lambda: qt.QByteArray(b"a\x00b").data(),
    "bytes(QByteArray)": lambda: bytes(qt.QByteArray(b"a")),
    'QByteArray("text")': lambda: qt.QByteArray("text").data(),
    "len(QByteArray)": lambda: len(qt.QByteArray(b"abc")),
    "QSignalBlocker context": lambda: qt.QSignalBlocker(B()).__enter__ and "has __enter__",
    "table item text()": lambda: (
        t := qt.QTableWidget(1, 1),
        t.setItem(0, 0, qt.QTableWidgetItem("a")),
        t.item(0, 0).text(),
    )[2],
    "table.rowCount": lambda: qt.QTableWidget(1, 1).rowCount,
    "table.rowCount()": lambda: qt.QTableWidget(1, 1).rowCount(),
    "table.currentRow()": lambda: qt.QTableWidget(1, 1).currentRow(),
    "table.item(5,5)": lambda: qt.QTableWidget(1, 1).item(5, 5),
    "QTableWidgetItem(5)": lambda: qt.QTableWidgetItem(5).text(),
    "setItem(str)": lambda: qt.QTableWidget(1, 1).setItem(0, 0, "a"),
    "setHorizontalHeaderLabels(tuple)": lambda: qt.QTableWidget(1, 1).setHorizontalHeaderLabels(("a",)),
    "QFormLayout.addRow(str, w)": lambda: (
        w := qt.QWidget(),
        keep.append(w),
        form := qt.QFormLayout(w),
        form.addRow("a", B()),
        form.rowCount(),
    )[4],
    "findChildren(qt.QPushButton)": lambda: (
        w := qt.QWidget(),
        keep.append(w),
        b := qt.QPushButton("a", w),
        keep.append(b),
        len(w.findChildren(qt.QPushButton)),
    )[4],
    'findChild(qt.QPushButton, "n")': lambda: (
        w := qt.QWidget(),
        keep.append(w),
        b := qt.QPushButton("a", w),
        keep.append(b),
        setattr(b, "objectName", "n"),
        w.findChild(qt.QPushButton, "n") is b,
    )[5],
    "children() identity": lambda: (
        w := qt.QWidget(),
        keep.append(w),
        b := qt.QPushButton("a", w),
        w.children()[0] is b,
    )[3],
    "layout() before set": lambda: B().layout(),
    "widget.font.pointSize()": lambda: B().font.pointSize() > 0,
    'QColor("#102030").name()': lambda: qt.QColor("#102030").name(),
    "QColor(1,2,3).red()": lambda: qt.QColor(1, 2, 3).red(),
    "QSettings bool round trip": lambda: (
        s := qt.QSettings(INI, qt.QSettings.IniFormat),
        s.setValue("a", True),
        s.sync(),
        qt.QSettings(INI, qt.QSettings.IniFormat).value("a"),
    )[3],
    "QSettings int round trip": lambda: (
        s := qt.QSettings(INI, qt.QSettings.IniFormat),
        s.setValue("i", 5),
        s.sync(),
        qt.QSettings(INI, qt.QSettings.IniFormat).value("i"),
    )[3],
    "QSettings value(type=)": lambda: qt.QSettings().value("a", False, type=bool),
    "QUrl.fromLocalFile(Path)": lambda: qt.QUrl.fromLocalFile(pathlib.Path("/a")).toString(),
    "QPixmap(Path)": lambda: qt.QPixmap(pathlib.Path("/a")).isNull(),
    "QIcon(Path)": lambda: qt.QIcon(pathlib.Path("/a")).isNull(),
    'QKeySequence("Return") == QKeySequence("Return")': lambda: qt.QKeySequence("Return") == qt.QKeySequence("Return"),
    "QKeySequence toString": lambda: qt.QKeySequence("Ctrl+A").toString(),
    "QFileInfo(str).fileName()": lambda: qt.QFileInfo("/a/b.c").fileName(),
    "QDir.homePath()": lambda: isinstance(qt.QDir.homePath(), str),
    "QApplication.instance()": lambda: qt.QApplication.instance() is not None,
    "qApp": lambda: qt.qApp is not None,
    "QObject subclass with __init__": lambda: type("X", (qt.QObject,), {})().objectName,
    "attribute on Python subclass": lambda: (
        X := type("X", (qt.QWidget,), {}),
        x := X(),
        keep.append(x),
        setattr(x, "foo", 3),
        x.foo,
    )[4],
    "eventFilter on subclass": lambda: (
        X := type(
            "X", (qt.QObject,), {"eventFilter": lambda self, o, e: self.seen.append(e.type()) or False, "seen": []}
        ),
        x := X(),
        keep.append(x),
        b := B(),
        b.installEventFilter(x),
        b.show(),
        b.hide(),
        len(x.seen) > 0,
    )[7],
    "dialog.exec_ exists": lambda: hasattr(qt.QDialog, "exec_"),
    "dialog.exec exists": lambda: hasattr(qt.QDialog, "exec"),
    "raise_": lambda: hasattr(B(), "raise_"),
    "deleted object": lambda: (
        b := qt.QPushButton("a"),
        b.deleteLater(),
        qt.QCoreApplication.sendPostedEvents(b, 52),
        b.text,
    )[3],
    "bool(widget)": lambda: bool(B()),
    "hash(widget)": lambda: isinstance(hash(B()), int),
    "isinstance(b, QWidget)": lambda: isinstance(B(), qt.QWidget),
    "isinstance(b, QAbstractButton)": lambda: isinstance(B(), qt.QAbstractButton),
    "issubclass(QPushButton, QWidget)": lambda: issubclass(qt.QPushButton, qt.QWidget),
    "type(b) == QPushButton": lambda: type(B()) == qt.QPushButton,
    "widget.palette.color": lambda: callable(B().palette.color),
    "setSizePolicy enums": lambda: B().setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed),
    "lineWrapMode = enum": lambda: (
        x := qt.QPlainTextEdit(),
        setattr(x, "lineWrapMode", qt.QPlainTextEdit.NoWrap),
        x.lineWrapMode,
    )[2],
    "setEditTriggers(enum)": lambda: qt.QTableWidget(1, 1).setEditTriggers(qt.QAbstractItemView.NoEditTriggers),
    "toolTip = 3": lambda: setattr(B(), "toolTip", 3),
    "list property tuple": lambda: (x := qt.QCompleter(["a", "b"]), 1)[1],
    "QProcess.arguments()": lambda: (p := qt.QProcess(), p.setArguments(["a", "b"]), p.arguments())[2],
    "QProcess args with Path": lambda: (p := qt.QProcess(), p.setArguments(["a", pathlib.Path("/b")]), p.arguments())[
        2
    ],
    "QProcess args with int": lambda: (p := qt.QProcess(), p.setArguments(["a", 5]), p.arguments())[2],
    "setItemText out of range": lambda: qt.QComboBox().setItemText(9, "a"),
    "wrong number of arguments": lambda: B().resize(1),
    "unknown keyword": lambda: B().resize(w=1, h=2),
    "signal attribute type": lambda: type(B().clicked).__name__,
    "QDesktopServices.openUrl exists": lambda: hasattr(qt.QDesktopServices, "openUrl"),
    "QMenu.exec_": lambda: hasattr(qt.QMenu(), "exec_"),
    "QShortcut(key, None)": lambda: qt.QShortcut(qt.QKeySequence("A"), None) and "made",
    "Signal()": lambda: type("S", (qt.QObject,), {"s": qt.Signal(int)})().s is not None,
}


def answers():
    """The answers of the Qt at hand, by the names of the probes."""
    return {name: answer(probe) for name, probe in PROBES.items()}


if __name__ == "__main__":
    pathlib.Path(sys.argv[-1]).write_text(json.dumps(answers(), indent=0))
