"""All training systems: the folders beside this file, and those that other packages add by an entry point.

[project.entry-points."virtual_contrast.systems"]
my_network = "my_package.training:SYSTEM"
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from VirtualContrastLib.events import InputError

from ..training.options import RunOptions
from ..training.packaging import Packaging
from ..training.recipe import DescribedRecipe
from ..training.system import System

ENTRY_POINTS = "virtual_contrast.systems"


@cache
def systems() -> dict[str, System]:
    """All records by id: those of the folders here, then those of installed packages."""
    room = importlib.import_module(__package__)
    built_in = [
        importlib.import_module(f"{__package__}.{module.name}").SYSTEM
        for module in pkgutil.iter_modules(room.__path__)
        if module.ispkg
    ]
    records: dict[str, System] = {record.id: record for record in built_in}
    for point in entry_points(group=ENTRY_POINTS):
        record = _of_entry_point(point)
        if record is not None and record.id in records:
            logging.getLogger(__name__).warning("The system %s of %s has a name in use.", record.id, point.value)
        elif record is not None:
            records[record.id] = record
    return records


def system_of(name: object) -> System:
    """The record of the id `name`; raises InputError naming the known ones."""
    record = systems().get(name) if isinstance(name, str) else None
    if record is None:
        raise InputError(f"There is no system {name!r} to train; the systems are {', '.join(systems())}.")
    return record


def train(recipe: DescribedRecipe, output: Path, options: RunOptions = RunOptions(), *, smoke: bool = False) -> Path:
    """Train a recipe by the system that it names; see `System.run`.

    Args:
        recipe: The recipe.
        output: Folder of the run.
        options: Devices, time limit, precision, and whether to resume.
        smoke: Run a few steps on small phantoms only.

    Returns:
        The exported model package.
    """
    return system_of(recipe.system).run(recipe, output, options, smoke=smoke)


def packaging_of(recipe: DescribedRecipe) -> Packaging:
    """How the network of `recipe` becomes a package; raises InputError where only a whole run can be exported."""
    packaging = system_of(recipe.system).package_of()
    if packaging is None:
        others = ", ".join(record.id for record in systems().values() if record.packaging is not None)
        raise InputError(
            f"Checkpoints of {recipe.system} are exported at the end of their training only; those of {others} at any "
            "time."
        )
    return packaging


def _of_entry_point(point: EntryPoint) -> System | None:
    """The record of another package, None with a line in the log where that cannot be imported or is no record."""
    try:
        record = point.load()
    except Exception:  # foreign code: whatever is wrong with it, the other systems must still train
        logging.getLogger(__name__).warning("The system %s cannot be loaded.", point.value, exc_info=True)
        return None
    if not isinstance(record, System):
        logging.getLogger(__name__).warning("%s is not a System record.", point.value)
        return None
    return record
