"""Makes the packaged phantom and the module's icons: `python Testing/host/make_sample_data.py` from the repository.

Writes VirtualContrast/Resources/SampleData/VirtualContrastPhantom.nrrd (pre-contrast volume of the phantom study with
seed SEED, 16 bit, compressed), Icons/VirtualContrastPhantom.png (its middle slice) and Icons/VirtualContrast.png.
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PySide6 import QtCore, QtGui, QtWidgets

SEED = 900003
RESOURCES = Path(__file__).resolve().parents[2] / "VirtualContrast" / "Resources"
MAX_BYTES = 1_500_000


def write_phantom(path: Path) -> np.ndarray:
    """Write the pre-contrast volume and return its voxels [k, j, i]."""
    from VirtualContrastLib.io.marks import marked
    from VirtualContrastTrainingLib.data.phantom import make_phantom

    image = make_phantom(SEED).images[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    writer.SetCompressionLevel(9)
    writer.Execute(marked(image))
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path} is larger than {MAX_BYTES} bytes; packages must stay small")
    return sitk.GetArrayFromImage(image)


def draw_thumbnail(voxels: np.ndarray, path: Path) -> None:
    """The middle slice on black, 280 x 260, anterior up."""
    plane = voxels[len(voxels) // 2].astype(np.float32)
    gray = np.ascontiguousarray((255 * np.clip(plane / np.percentile(plane, 99.5), 0, 1)).astype(np.uint8))
    slice_ = QtGui.QImage(gray.data, gray.shape[1], gray.shape[0], gray.shape[1], QtGui.QImage.Format_Grayscale8)
    canvas = QtGui.QImage(280, 260, QtGui.QImage.Format_RGB32)
    canvas.fill(QtCore.Qt.black)
    scaled = slice_.scaled(canvas.size(), QtCore.Qt.KeepAspectRatio, QtCore.Qt.SmoothTransformation)
    painter = QtGui.QPainter(canvas)
    painter.drawImage((canvas.width() - scaled.width()) // 2, (canvas.height() - scaled.height()) // 2, scaled)
    painter.setPen(QtGui.QColor(255, 200, 80))
    painter.setFont(QtGui.QFont("Sans", 11))
    painter.drawText(canvas.rect().adjusted(0, 0, 0, -10), QtCore.Qt.AlignHCenter | QtCore.Qt.AlignBottom, "PHANTOM")
    painter.end()
    canvas.save(str(path))


def draw_icon(path: Path) -> None:
    """128 x 128: a gray breast outline, half of it with an enhancing lesion, and a wash-out curve below."""
    icon = QtGui.QImage(128, 128, QtGui.QImage.Format_ARGB32)
    icon.fill(QtCore.Qt.transparent)
    painter = QtGui.QPainter(icon)
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    frame = QtGui.QPainterPath()
    frame.addRoundedRect(4, 4, 120, 120, 20, 20)
    painter.fillPath(frame, QtGui.QColor(24, 32, 48))
    breast = QtGui.QPainterPath(QtCore.QPointF(16, 78))
    breast.cubicTo(20, 10, 108, 10, 112, 78)
    breast.closeSubpath()
    shade = QtGui.QLinearGradient(16, 0, 112, 0)
    for place, gray in ((0.0, 70), (0.49, 110), (0.51, 170), (1.0, 205)):
        shade.setColorAt(place, QtGui.QColor(gray, gray, gray))
    painter.fillPath(breast, shade)
    glow = QtGui.QRadialGradient(82, 54, 15)
    glow.setColorAt(0.0, QtGui.QColor(255, 244, 200))
    glow.setColorAt(0.55, QtGui.QColor(255, 150, 40))
    glow.setColorAt(1.0, QtGui.QColor(255, 120, 20, 0))
    painter.setBrush(glow)
    painter.setPen(QtCore.Qt.NoPen)
    painter.drawEllipse(QtCore.QPointF(82, 54), 15, 15)
    painter.setPen(QtGui.QPen(QtGui.QColor(235, 240, 250), 2, QtCore.Qt.DashLine))
    painter.drawLine(64, 20, 64, 80)
    curve = QtGui.QPainterPath(QtCore.QPointF(18, 112))
    curve.cubicTo(34, 112, 34, 90, 48, 90)
    curve.cubicTo(66, 90, 84, 100, 110, 104)
    painter.setBrush(QtCore.Qt.NoBrush)
    painter.setPen(QtGui.QPen(QtGui.QColor(255, 150, 40), 5, QtCore.Qt.SolidLine, QtCore.Qt.RoundCap))
    painter.drawPath(curve)
    painter.end()
    icon.save(str(path))


def main() -> int:
    """Write all three files."""
    _application = QtWidgets.QApplication([])  # fonts need one
    voxels = write_phantom(RESOURCES / "SampleData" / "VirtualContrastPhantom.nrrd")
    draw_thumbnail(voxels, RESOURCES / "Icons" / "VirtualContrastPhantom.png")
    draw_icon(RESOURCES / "Icons" / "VirtualContrast.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
