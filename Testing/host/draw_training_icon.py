"""Draws the training module's icon: `python Testing/host/draw_training_icon.py` from the repository."""

import itertools
import sys
from pathlib import Path

from PySide6 import QtCore, QtGui

ICON = Path(__file__).resolve().parents[2] / "VirtualContrastTraining/Resources/Icons/VirtualContrastTraining.png"


def draw_icon(path: Path) -> None:
    """128 x 128: a falling loss curve with its held-out companion, above it the layers of a network."""
    icon = QtGui.QImage(128, 128, QtGui.QImage.Format_ARGB32)
    icon.fill(QtCore.Qt.transparent)
    painter = QtGui.QPainter(icon)
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    frame = QtGui.QPainterPath()
    frame.addRoundedRect(4, 4, 120, 120, 20, 20)
    painter.fillPath(frame, QtGui.QColor(24, 32, 48))
    draw_network(painter)
    painter.setBrush(QtCore.Qt.NoBrush)
    painter.setPen(QtGui.QPen(QtGui.QColor(150, 160, 180), 2))
    painter.drawPolyline([QtCore.QPointF(20, 26), QtCore.QPointF(20, 110), QtCore.QPointF(112, 110)])
    for color, width, lowest in ((QtGui.QColor(120, 190, 240), 3, 88), (QtGui.QColor(255, 150, 40), 5, 101)):
        curve = QtGui.QPainterPath(QtCore.QPointF(24, 30))
        curve.cubicTo(32, lowest - 4, 48, lowest, 110, lowest)
        painter.setPen(QtGui.QPen(color, width, QtCore.Qt.SolidLine, QtCore.Qt.RoundCap))
        painter.drawPath(curve)
    painter.end()
    path.parent.mkdir(parents=True, exist_ok=True)
    icon.save(str(path))


def draw_network(painter: QtGui.QPainter) -> None:
    """Three layers of nodes, each joined with the next."""
    layers = [[QtCore.QPointF(58 + 22 * number, y) for y in rows] for number, rows in enumerate(LAYERS)]
    painter.setPen(QtGui.QPen(QtGui.QColor(120, 130, 150), 1.5))
    for first, second in itertools.pairwise(layers):
        for one in first:
            for other in second:
                painter.drawLine(one, other)
    painter.setPen(QtCore.Qt.NoPen)
    painter.setBrush(QtGui.QColor(235, 240, 250))
    for point in [point for layer in layers for point in layer]:
        painter.drawEllipse(point, 5, 5)


LAYERS = ((26, 46, 66), (36, 56), (46,))

if __name__ == "__main__":
    draw_icon(ICON)
    sys.exit(0)
