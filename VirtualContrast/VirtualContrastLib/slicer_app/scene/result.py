"""A result folder becomes MRML nodes: all of them under one folder of the subject hierarchy, or none."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ...results.manifest import MAMMOGRAM, SYNTHESIS, Result
from ...results.manifest import load_result as read_result
from . import loaded, nodes
from .loaded import LoadedResult
from .loader import Loader

MAPS = ("curve_type",)
_END = object()


def load_result(
    folder: Path, input_node: Any, *, real_nodes: Sequence[Any] = (), maps: Sequence[str] = MAPS
) -> LoadedResult:
    """Load a finished result folder beside the pre-contrast volume node that it was made from.

    `real_nodes` are the real post-contrast phases 1, 2, ... for flicker and for curves after editing: nodes of the
    scene, or items of a sequence. Those that the model read are copied into the result. `maps`
    are the parametric maps to load (each costs the memory of a volume): curve_type, ser, wash_in, wash_out,
    time_to_peak, pe_phase_1, ... . Where anything fails the scene is as it was.

    Raises:
        InputError: no result folder, a comparison, another geometry than the input's, or a damaged file.
    """
    return nodes.drain(load_steps(folder, input_node, real_nodes=real_nodes, maps=maps))


def load_steps(
    folder: Path,
    input_node: Any,
    *,
    real_nodes: Sequence[Any] = (),
    maps: Sequence[str] = MAPS,
    run_id: str | None = None,
) -> Generator[float, None, LoadedResult]:
    """As `load_result`, in steps that are short enough to handle the application's events between them.

    `run_id` is the run whose result it must be, from the first file to the last; None for any. Yields the fraction
    done, 0..1. Closing the generator takes everything out of the scene that was made so far.

    Raises:
        InputError: as `load_result`; or it is the result of another run; or the scene was closed, or the input or a
            node made so far removed, meanwhile.
    """
    result = _result_of(folder, run_id)
    if result.manifest.kind not in (SYNTHESIS, MAMMOGRAM) or not result.manifest.phases:
        raise InputError(f"{result.folder} holds no synthetic phases; choose the result folder of a synthesis.")
    nodes.keep_house()
    made, done = nodes.Made(), False
    loader = Loader(result, input_node, made)
    steps = loader.load(real_nodes, maps)
    try:
        while not done:
            if not (made.intact and nodes.in_scene(input_node)):
                raise InputError(_("the scene was changed while the result was being loaded"))
            with made.recording():
                ended = next(steps, _END) is _END
            if not ended:
                yield loader.fraction
                continue
            _result_of(folder, result.manifest.run_id)
            done = True
        return loaded.of_run(loader.run_node)
    finally:
        steps.close()
        if not done:
            made.remove()


def _result_of(folder: Path, run_id: str | None) -> Result:
    result = read_result(folder)
    if run_id is not None and result.manifest.run_id != run_id:
        raise InputError(_("another run has put its result there meanwhile"))
    return result


def find_results() -> list[LoadedResult]:
    """Every result that is in the scene, as after loading a saved scene, in the order of their run ids."""
    nodes.keep_house()
    texts = slicer.util.getNodesByClass("vtkMRMLTextNode")
    runs = [text for text in texts if text.GetAttribute(nodes.ROLE) == loaded.RUN]
    return [loaded.of_run(run) for run in sorted(runs, key=lambda run: str(run.GetAttribute(nodes.RUN_ID)))]


def remove_result(result: LoadedResult) -> None:
    """Take a result out of the scene. Deleting its folder in the Data module does the same."""
    run_node = nodes.node(result.run_node)
    if run_node is None:
        return
    hierarchy = nodes.subject_hierarchy()
    parts = loaded.parts(run_node)
    hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(run_node)), True, True)
    nodes.remove_nodes(parts)  # what a user moved out of the folder
