"""The viewer of report.html in a real browser, offline: what is drawn, what clicks and keys do."""

import base64
import json
import re

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("selenium")
import sys
from pathlib import Path

from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from VirtualContrastLib.export.figures.display import acquisition_view
from VirtualContrastLib.export.figures.run_figures import FigureInput
from VirtualContrastLib.export.report import html
from VirtualContrastLib.export.report.viewer import viewer_data, viewer_html
from VirtualContrastLib.kinetics.curves import lesion_curves

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from export_samples import breast_study


@pytest.fixture(scope="module")
def content():
    pre, phases, real, labels, uncertainty = breast_study()
    curves = lesion_curves([pre, *phases], labels, uncertainty)
    real_curves = lesion_curves([pre, *real], labels)
    return FigureInput(pre, phases, labels, curves, real[:1], real_curves)


@pytest.fixture
def page(browser, content, tmp_path):
    """The open page, drawn."""
    path = tmp_path / "report.html"
    path.write_text(html.page("Viewer", "Research only", [viewer_html(content)]), encoding="utf-8")
    browser.get(path.as_uri())
    WebDriverWait(browser, 300).until(lambda b: b.find_element(By.CSS_SELECTOR, ".viewer[data-ready]"))
    yield browser
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def viewer(page):
    return page.find_element(By.CLASS_NAME, "viewer")


def state(page, name):
    page.execute_async_script("const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done));")
    return viewer(page).get_attribute(f"data-{name}")


def pixels(page, pane):
    """Gray [row, column] of a pane as the browser shows it."""
    script = """const c = document.querySelector(`canvas[data-pane=${arguments[0]}]`);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return [c.height, c.width, Array.from(d).filter((_, n) => n % 4 === 0)];"""
    height, width, gray = page.execute_script(script, pane)
    return np.array(gray).reshape(height, width)


def press(page, name):
    next(b for b in viewer(page).find_elements(By.TAG_NAME, "button") if b.text.startswith(name)).click()


def expected(content, image, k):
    """Gray levels that the first window gives the slice k of an image of the study."""
    low, high = viewer_data(content)["window"]
    volume = acquisition_view(content.pre.image).slices(image)[k].astype(float)
    return np.clip((volume - low) / (high - low) * 255, 0, 255)


def test_panes_show_the_pixels_of_the_slice_of_the_largest_lesion(page, content):
    press(page, "Outlines")
    k = int(state(page, "slice"))
    labels = acquisition_view(content.pre.image).slices(content.labels)
    assert k == np.bincount(np.nonzero(labels == 1)[0]).argmax()
    middle = (slice(20, 60), slice(30, 100))  # between the letters
    for pane, image in (("pre", content.pre.image), ("phase", content.phases[0].image)):
        wanted = expected(content, image, k)[middle]
        assert np.abs(pixels(page, pane)[middle] - wanted).mean() < 2.5, pane
    change = pixels(page, "change")
    lesion = labels[k] == 1
    assert change[lesion].mean() > change[middle].mean() + 60


def test_a_lesion_of_the_list_is_jumped_to_and_its_curve_is_that_of_the_table(page, content):
    press(page, "Lesion 2")
    labels = acquisition_view(content.pre.image).slices(content.labels)
    assert int(state(page, "slice")) == np.bincount(np.nonzero(labels == 2)[0]).argmax()
    drawn = json.loads(page.find_element(By.CLASS_NAME, "viewer-chart").get_attribute("data-curve"))
    curve = next(curve for curve in content.curves if curve.label == 2)
    assert drawn["synthetic"]["pe"] == pytest.approx(curve.pe_percent, abs=0.01)
    assert drawn["real"]["pe"] == pytest.approx(content.real_curves[1].pe_percent, abs=0.01)


def test_a_click_shows_the_curve_of_that_place(page, content):
    press(page, "Lesion 1")
    canvas = page.find_element(By.CSS_SELECTOR, "canvas[data-pane=phase]")
    lesion = next(lesion for lesion in viewer_data(content)["lesions"] if lesion["label"] == 1)
    columns, rows, _ = viewer_data(content)["size"]
    size = canvas.size
    dx = (lesion["column"] + 0.5) / columns * size["width"] - size["width"] / 2
    dy = (lesion["row"] + 0.5) / rows * size["height"] - size["height"] / 2
    ActionChains(page).move_to_element_with_offset(canvas, dx, dy).click().perform()
    state(page, "slice")
    drawn = json.loads(page.find_element(By.CLASS_NAME, "viewer-chart").get_attribute("data-curve"))
    curve = content.curves[0]
    assert drawn["synthetic"]["pe"] == pytest.approx(curve.pe_percent, abs=12)
    assert drawn["synthetic"]["times_s"] == pytest.approx(curve.times_s)


def test_keys_and_wheel_go_through_slices_and_phases(page):
    start, element = int(state(page, "slice")), viewer(page)
    element.click()
    start = int(state(page, "slice"))
    element.send_keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_DOWN)
    assert int(state(page, "slice")) == start + 1
    element.send_keys(Keys.ARROW_RIGHT)
    assert state(page, "phase") == "2"
    element.send_keys(*[Keys.ARROW_LEFT] * 5)
    assert state(page, "phase") == "1"


def test_dragging_changes_one_window_for_all_phases(page):
    before = pixels(page, "pre").mean(), pixels(page, "phase").mean()
    canvas = page.find_element(By.CSS_SELECTOR, "canvas[data-pane=pre]")
    ActionChains(page).click_and_hold(canvas).move_by_offset(80, 0).release().perform()
    assert state(page, "window") is not None
    after = pixels(page, "pre").mean(), pixels(page, "phase").mean()
    assert abs(after[0] - before[0]) > 2
    assert abs(after[1] - before[1]) > 2
    press(page, "Reset window")
    state(page, "window")
    assert pixels(page, "pre").mean() == pytest.approx(before[0], abs=1)


def test_synthetic_panes_carry_the_label_and_the_real_phase_does_not(page):
    corner = (slice(-12, None), slice(0, 40))
    synthetic = pixels(page, "phase")[corner]
    press(page, "Phase 1 (real")
    state(page, "phase")
    real = pixels(page, "phase")[corner]
    assert (synthetic > 200).sum() > 30
    assert (real > 200).sum() == 0


def test_the_page_loads_nothing_from_outside(page):
    names = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name);")
    assert [name for name in names if not name.startswith("data:")] == []


def test_the_report_prints_as_one_page(page, content, tmp_path):
    from test_export_report import PNG, manifest
    from VirtualContrastLib.export.figures.run_figures import FigureFile
    from VirtualContrastLib.export.report.report import ReportContent, write_report
    from VirtualContrastLib.lesions.measurement import measure_lesions

    (tmp_path / "a.png").write_bytes(PNG)
    series = [content.pre, *content.phases]
    given = ReportContent(
        manifest(),
        measures=measure_lesions(content.labels, series),
        curves=content.curves,
        figures=[FigureFile(tmp_path / "a.png", "first"), FigureFile(tmp_path / "a.png", "second")],
        viewer=viewer_html(content),
    )
    write_report(tmp_path / "whole.html", given)
    page.get((tmp_path / "whole.html").as_uri())
    paper = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1


@pytest.mark.slow
def test_a_large_study_stays_within_the_budget():
    rng = np.random.default_rng(0)
    pre, phases, _, _, _ = breast_study(size=(250, 250, 120), spacing=(1.3, 1.3, 1.3))
    noisy = []
    for phase in (pre, *phases[:2]):
        array = sitk.GetArrayFromImage(phase.image) + rng.normal(0, 20, phase.image.GetSize()[::-1]).astype(np.float32)
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(phase.image)
        noisy.append(type(phase)(phase.index, image, phase.time_s, phase.synthetic))
    data = viewer_data(FigureInput(noisy[0], noisy[1:]))
    assert data["lossy"]
    assert sum(len(volume["picture"]) for volume in data["volumes"]) < 8_000_000
    columns, rows, slices = data["size"]
    assert max(columns, rows) <= 256
    assert len(data["slice_numbers"]) == slices <= 128
