"""A result folder becomes MRML nodes: all of them under one folder of the subject hierarchy, or none."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import slicer
from slicer.i18n import tr as _

from ...events import InputError
from ...results.manifest import MAMMOGRAM, SYNTHESIS, Result
from ...results.manifest import load_result as read_result
from . import loaded, nodes
from .loaded import LoadedResult
from .loader import Loader
from .nodes import Steps

MAPS = ("curve_type",)
_END = object()
T = TypeVar("T")


def load_result(
    folder: Path, input_node: Any, *, real_nodes: Sequence[Any] = (), maps: Sequence[str] = MAPS
) -> LoadedResult:
    """Load a finished result folder beside the pre-contrast volume node that it was made from.

    Where anything fails the scene is as it was.

    Args:
        folder: The result folder.
        input_node: The pre-contrast volume node.
        real_nodes: The real post-contrast phases 1, 2, ... for flicker and for curves after editing: nodes of the
            scene, or items of a sequence. Those that the model read are copied into the result.
        maps: The parametric maps to load (each costs the memory of a volume): curve_type, ser, wash_in, wash_out,
            time_to_peak, pe_phase_1, ...

    Returns:
        The loaded result.

    Raises:
        InputError: No result folder, a comparison, another geometry than the input's, or a damaged file.
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

    Closing the generator takes everything out of the scene that was made so far.

    Args:
        folder: The result folder.
        input_node: The pre-contrast volume node.
        real_nodes: The real post-contrast phases 1, 2, ...
        maps: The parametric maps to load.
        run_id: The run whose result it must be, from the first file to the last; None for any.

    Yields:
        The fraction done, 0 to 1; it returns the loaded result.

    Raises:
        InputError: As `load_result`; or it is the result of another run; or the scene was closed, or the input or a
            node made so far removed, in the meantime.
    """
    result = synthetic_result(folder, run_id)
    nodes.keep_house()
    made = nodes.Made()
    loader = Loader(result, input_node, made)

    def steps() -> Steps[None]:
        yield from loader.load(real_nodes, maps)
        synthetic_result(folder, result.manifest.run_id)

    yield from _all_or_nothing(steps(), made, input_node, lambda: loader.fraction)
    return loaded.of_run(loader.run_node)


def load_map_steps(folder: Path, result: LoadedResult, name: str) -> Steps[None]:
    """Load one more parametric map of a result from its folder, in steps; `result.maps` has it then.

    Args:
        folder: The result folder.
        result: The loaded result.
        name: Name of the map.

    Returns:
        The steps.

    Raises:
        InputError: The folder holds another run or no such map, or the scene was changed in the meantime.
    """
    made = nodes.Made()
    beside = nodes.node(result.input) or nodes.node(result.pre)
    loader = Loader(synthetic_result(folder, result.run_id), beside, made, run_node=nodes.node(result.run_node))
    yield from _all_or_nothing(loader.one_map(name, nodes.node(result.colors["heat"])), made, beside, lambda: None)
    result.maps = loaded.referred(loader.run_node, loaded.MAP)


def _all_or_nothing(
    steps: Steps[None], made: nodes.Made, beside: Any, progress: Callable[[], T]
) -> Generator[T, None, None]:
    """Do all steps, yielding what `progress` gives after each; where one fails, the nodes that were made go."""
    done = False
    try:
        while not done:
            if not (made.intact and nodes.in_scene(beside)):
                raise InputError(_("the scene was changed while the result was being loaded"))
            with made.recording():
                done = next(steps, _END) is _END
            if not done:
                yield progress()
    finally:
        steps.close()
        if not done:
            made.remove()


def synthetic_result(folder: Path, run_id: str | None = None) -> Result:
    """The result of a synthesis in a folder, of the run `run_id` where one is named.

    Raises:
        InputError: it is none, or of another run.
    """
    result = read_result(folder)
    if run_id is not None and result.manifest.run_id != run_id:
        raise InputError(_("another run has put its result there in the meantime"))
    if result.manifest.kind not in (SYNTHESIS, MAMMOGRAM) or not result.manifest.phases:
        raise InputError(f"{result.folder} holds no synthetic phases; choose the result folder of a synthesis.")
    return result


def find_results() -> list[LoadedResult]:
    """Every result that is in the scene, as after loading a saved scene, in the order of their run ids."""
    nodes.keep_house()
    texts = slicer.util.getNodesByClass("vtkMRMLTextNode")
    runs = [text for text in texts if text.GetAttribute(nodes.ROLE) == loaded.RUN]
    return [loaded.of_run(run) for run in sorted(runs, key=lambda run: str(run.GetAttribute(nodes.RUN_ID)))]


def remove_result(result: LoadedResult) -> None:
    """Take a result out of the scene, with the pre-contrast volume that was computed back for it.

    Deleting its folder in the Data module does the same, but leaves that volume if it was moved out of the folder.
    """
    run_node = nodes.node(result.run_node)
    if run_node is None:
        return
    hierarchy = nodes.subject_hierarchy()
    parts = loaded.parts(run_node)
    if loaded.is_rebuilt(nodes.node(result.input)):
        parts.append(result.input)
    hierarchy.RemoveItem(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(run_node)), True, True)
    nodes.remove_nodes(parts)  # what a user moved out of the folder
