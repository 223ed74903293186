"""Do the tests notice a change of the code? A seeded sample of Cosmic Ray's mutants of a room, against its tests.

    pip install cosmic-ray          # https://github.com/sixty-north/cosmic-ray, not needed otherwise
    python Testing/mutants.py kinetics --count 20 --seed 1

Works on a copy of the repository, so that the working tree is never changed. Prints each mutant as it ends and the diff
of every survivor: a survivor is either equivalent (says the same in other words) or a test that is missing. Annotations
are not mutated: nothing evaluates them.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINE = "VirtualContrast/VirtualContrastLib"
ROOMS = {
    "kinetics": ("test_kinetics_*.py", "test_radiomics.py"),
    "lesions": ("test_lesions_*.py", "test_radiomics.py", "test_breast_tissue.py"),
    "io/dicom": (
        *("test_io_dicom.py", "test_io_dicom_phases.py", "test_io_study_folder.py", "test_io_one_sequence.py"),
        *("test_hostile_files.py", "test_export_odd_headers.py"),
    ),
    "export/figures": ("test_export_figures*.py",),
}
"""Rooms of the engine and the files of Testing/engine that hold them."""


def positions_of_annotations(path: Path) -> list[tuple[int, int]]:
    """First and last line of every annotation in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if part is not None:
                found.append((part.lineno, part.end_lineno))
    return found


def mutants(files: list[Path]) -> list:
    """All mutations of the files outside of annotations."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder) / "session.sqlite", WorkDB.Mode.create) as session,
    ):
        init(files, session, {})
        found = [item.mutations[0] for item in session.work_items]
    notes = {path: positions_of_annotations(path) for path in files}
    return [
        one for one in found if not any(low <= one.start_pos[0] <= high for low, high in notes[Path(one.module_path)])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--count", type=int, default=20, help="mutants to try (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default 1)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for the tests of one mutant")
    arguments = parser.parse_args()
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_item import TestOutcome

    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        for part in ("VirtualContrast", "VirtualContrastTraining", "Testing", "Resources", "pyproject.toml"):
            source, copy = REPOSITORY / part, Path(folder) / part
            shutil.copytree(source, copy, symlinks=True) if source.is_dir() else shutil.copy(source, copy)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [f"{folder}/VirtualContrast", f"{folder}/VirtualContrastTraining", os.environ.get("PYTHONPATH", "")]
        )
        tests = sorted(str(path) for pattern in ROOMS[arguments.room] for path in Path("Testing/engine").glob(pattern))
        command = f"{sys.executable} -m pytest -x -q -p no:cacheprovider {' '.join(tests)}"
        start = time.monotonic()
        if subprocess.run(command.split(), check=False, stdout=subprocess.DEVNULL).returncode:
            print("The tests fail without any change.")
            return 1
        every = mutants(sorted((Path(folder) / ENGINE / arguments.room).glob("*.py")))
        chosen = random.Random(arguments.seed).sample(every, min(arguments.count, len(every)))
        print(f"{len(chosen)} of {len(every)} mutants; the tests take {time.monotonic() - start:.0f} s", flush=True)
        survivors = []
        for number, one in enumerate(chosen, start=1):
            result = mutate_and_test([one], command, arguments.timeout)
            survived = result.test_outcome == TestOutcome.SURVIVED
            place = f"{Path(one.module_path).name}:{one.start_pos[0]} {one.operator_name.rpartition('/')[2]}"
            print(f"{number:>3} {'SURVIVED' if survived else 'killed'}  {place}", flush=True)
            if survived:
                survivors.append(result.diff)
    for diff in survivors:
        print(f"\n{diff}")
    killed = len(chosen) - len(survivors)
    print(f"\n{arguments.room}: {killed} of {len(chosen)} killed (seed {arguments.seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
