"""Small stand-ins for the Duke data: a TCIA-like tree of phantom DICOM series, and tables as workbooks."""

import dataclasses
import json
import sys
import zipfile
from xml.sax.saxutils import escape

import numpy as np
import pydicom
import SimpleITK as sitk
from program import call
from VirtualContrastLib.events import VirtualContrastError
from VirtualContrastTrainingLib.data.phantom import PhantomSettings, make_phantom
from VirtualContrastTrainingLib.data.phantom.dicom import write_dicom_study

SETTINGS = PhantomSettings(
    size_kji=(8, 48, 64), spacing_kji_mm=(15.0, 4.0, 4.0), lesion_count_weights=(0, 1), lesion_radius_mm=(12, 18)
)
# Names as TCIA gives them: no order and no phase can be read from them.
SERIES = ["3.000000-Ax Vibrant-001", "26.000000-A-002", "10.000000-zz 3rd pass-003", "5.000000-B-004"]
BOX_HEADER = ["Patient ID", "Start Row", "End Row", "Start Column", "End Column", "Start Slice", "End Slice"]
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3).GetMatrix()


def main(argv):
    """The exit code of `virtual-contrast-training ARGV`."""
    try:
        return call(*argv)
    except VirtualContrastError as error:
        print(f"error: {error}", file=sys.stderr)
        return int(error.exit_code)


def stored(folder):
    """A prepared case as its files hold it: (arrays [k, j, i] of the images in order, lesion labels, case.json)."""
    content = json.loads((folder / "case.json").read_text())
    arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))) for name in content["images"]]
    return arrays, sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "lesions.nrrd"))), content


def phantom(seed, direction=None, origin=None):
    """A phantom, optionally with another orientation and origin of its voxel grid."""
    made = make_phantom(seed, SETTINGS)

    def placed(image):
        if direction is not None:
            image.SetDirection(direction)
            image.SetOrigin(origin or (12.5, -80.0, 33.0))
        return image

    return dataclasses.replace(made, images=[placed(i) for i in made.images], labels=placed(made.labels))


def write_case(root, number, made, *, names=SERIES, change=None):
    """Write a case below `root`; `change(dataset, series number, k)` may alter each file. Returns its folder."""
    case = root / f"Breast_MRI_{number:03d}"
    study = case / "01-01-1990-NA-MRI BREAST BILATERAL WWO-97538"
    study.mkdir(parents=True)
    write_dicom_study(made, names, study)
    if change is not None:
        for n, name in enumerate(names):
            for k, path in enumerate(sorted((study / name).iterdir())):
                dataset = pydicom.dcmread(path)
                change(dataset, n, k)
                dataset.save_as(path)
    return study


def box_row(number, made, *, descending=False):
    """The row of Annotation_Boxes for the phantom's lesion, as a reader of its slices would note it (from 1)."""
    k, j, i = np.nonzero(sitk.GetArrayFromImage(made.labels) == 1)
    depth = made.labels.GetDepth()
    slices = (depth - k.max(), depth - k.min()) if descending else (k.min() + 1, k.max() + 1)
    edges = (j.min() + 1, j.max() + 1, i.min() + 1, i.max() + 1, *slices)
    return [f"Breast_MRI_{number:03d}", *(int(edge) for edge in edges)]


def write_xlsx(path, rows):
    """A workbook of one sheet, text as shared strings as Excel writes it; None leaves a cell out of the file."""
    strings = []
    lines = []
    for r, row in enumerate(rows, start=1):
        cells = []
        for c, value in enumerate(row):
            place = f'r="{chr(65 + c)}{r}"'
            if isinstance(value, str):
                strings.append(value)
                cells.append(f'<c {place} t="s"><v>{len(strings) - 1}</v></c>')
            elif value is not None:
                cells.append(f"<c {place}><v>{value}</v></c>")
        lines.append(f'<row r="{r}">{"".join(cells)}</row>')
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    shared = "".join(f"<si><r><t>{escape(s[:2])}</t></r><r><t>{escape(s[2:])}</t></r></si>" for s in strings)
    with zipfile.ZipFile(path, "w") as book:
        sheet = f'<sheet name="Sheet1" sheetId="1" r:id="rId1" xmlns:r="{relations}"/>'
        book.writestr("xl/workbook.xml", f"<workbook {main}><sheets>{sheet}</sheets></workbook>")
        relation = f'<Relationship Id="rId1" Target="worksheets/sheet1.xml" Type="{relations}/worksheet"/>'
        book.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}">{relation}</Relationships>')
        book.writestr("xl/sharedStrings.xml", f"<sst {main}>{shared}</sst>")
        book.writestr(
            "xl/worksheets/sheet1.xml", f"<worksheet {main}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        )
