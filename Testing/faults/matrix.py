"""The matrix: each fault is done to a run when it comes to each stage, and what is there afterwards is looked at.

A cell survives where the program ended with the right code and one sentence, nothing half made lies under the output's
name, nobody's files are gone, and a second run makes the whole result and clears what the first one left.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from children import Child, fork

STAGES = ("read", "model", "synthesize", "segment", "kinetics", "compare", "export")
MODEL, LESIONS = "phantom-joint-p1-p3", "phantom-lesion-nnunet"
LIMIT_S = 300.0
STOP_S = 2.0
"""A request to stop is answered within this time, of processor time of the run."""


def study(folder: Path) -> tuple[Path, Path]:
    """A small volume with two breasts and a lesion, and its first phase."""
    rng = np.random.default_rng(1)
    k, j, i = np.mgrid[0:10, 0:48, 0:64]
    body = ((i % 32 - 16) ** 2 + (j - 30) ** 2 < 180) | (j > 34)
    lesion = (k - 5) ** 2 * 4 + (j - 28) ** 2 + (i - 16) ** 2 < 20
    paths = []
    for name, gain in (("pre", 0.0), ("phase", 1.2)):
        values = np.abs(rng.normal(0, 4, body.shape) + 100 * body * (1 + gain * lesion)).astype(np.float32)
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((2.5, 2.5, 3.0))
        paths.append(folder / f"{name}.nrrd")
        sitk.WriteImage(image, str(paths[-1]))
    return paths[0], paths[1]


def synthesize(pre: Path, real: Path, out: Path, *more: str) -> int:
    """A run of the command line in this process, with JSON lines."""
    from VirtualContrastLib.cli.main import main

    line = ["synthesize", str(pre), "-o", str(out), "--real", str(real), "--device", "cpu", "--json"]
    return main([*line, "--model", MODEL, "--segmentation", LESIONS, *more])


def until(child: Child, stage: str) -> bool:
    """Read until the run begins `stage`; False where it ended before."""
    for line in child.read(LIMIT_S):
        if line.startswith("{") and (told := json.loads(line)).get("event") == "progress" and told["stage"] == stage:
            return True
    return False


# ---- faults: each gets the child at the stage and the output place, and returns what is wrong, "" for nothing --------


def _killed(child: Child, out: Path) -> str:
    os.kill(child.pid, signal.SIGKILL)
    child.finish(LIMIT_S)
    return ""


def _stopped(child: Child, out: Path) -> str:
    before = used = _cpu_s(child.pid)
    os.kill(child.pid, signal.SIGTERM)
    end = time.monotonic() + LIMIT_S
    while not _ended(child) and time.monotonic() < end:
        used = max(used, _cpu_s(child.pid))
        time.sleep(0.02)
    code = child.finish(5.0)
    if code == 0 and (out / "manifest.json").is_file():
        return ""  # it was done when the signal came
    if code != 3:
        return f"exit code {code} in place of 3"
    return f"stopped only after {used - before:.1f} s of work" if used - before > STOP_S else ""


def _ended(child: Child) -> bool:
    try:
        return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _output_appears(child: Child, out: Path) -> str:
    out.mkdir()
    (out / "user.txt").write_text("my only copy")
    code = child.finish(LIMIT_S)
    if not (out / "user.txt").is_file():
        return "a folder that the user made meanwhile is gone"
    shutil.rmtree(out)
    return "" if code == 2 else f"exit code {code} in place of 2"


def _reader_gone(child: Child, out: Path) -> str:
    """Nobody listens to the progress any more: the run goes on."""
    os.close(child.handle)
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    child.code = code
    return "" if (out / "manifest.json").is_file() else f"the result was lost, exit code {code}"


def _full_disk(child: Child, out: Path) -> str:
    """Files may have 20 000 bytes from now on, as on a disk that fills up."""
    resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    code = child.finish(LIMIT_S)
    return "" if code in (1, 2) else f"exit code {code} in place of 1 or 2"


def _no_memory(child: Child, out: Path) -> str:
    """From now on the address space of the run may not grow: what does not fit into memory that it has let go fails.

    Python says so in a sentence. A stack that may not grow, or a library of C++, ends the process like a kill: then as
    much has to be left in order as after one.
    """
    size = int(Path(f"/proc/{child.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(child.pid, resource.RLIMIT_AS, (size, size))
    code = child.finish(LIMIT_S)
    if code == 0:
        return ""  # it needed no more; what it made is looked at like any result
    if code in (-signal.SIGSEGV, -signal.SIGABRT):
        return ""
    if code != 1:
        return f"exit code {code} in place of 1"
    return "" if "memory" in child.lines[-1] else "the last line does not tell of memory"


FAULTS: dict[str, tuple[Callable[[Child, Path], str], tuple[str, ...]]] = {
    "SIGKILL": (_killed, STAGES),
    "SIGTERM": (_stopped, STAGES),
    "no memory": (_no_memory, STAGES),
    "full disk": (_full_disk, ("synthesize", "export")),
    "OUT appears": (_output_appears, ("read", "synthesize", "export")),
    "reader gone": (_reader_gone, ("synthesize", "export")),
}
"""What is done, and to which stages: files are written in the last one alone, whatever the stage."""


def all_cells() -> list[tuple[str, str]]:
    """Fault and stage of every cell."""
    return [(fault, stage) for fault, (_, stages) in FAULTS.items() for stage in stages]


def cell(fault: str, stage: str, place: Path) -> str:
    """What is wrong in one cell, "" where it survived; works in a folder of its own below `place`."""
    folder = place / f"{fault}-{stage}".replace(" ", "-")
    folder.mkdir()
    pre, real = study(folder)
    problem = _cell(fault, stage, pre, real, folder / "out")
    shutil.rmtree(folder, ignore_errors=True)
    return problem


def _cell(fault: str, stage: str, pre: Path, real: Path, folder: Path) -> str:
    folder.mkdir()
    out = folder / "result"
    neighbor = folder / "result.old-mine"
    neighbor.mkdir()
    (neighbor / "notes.txt").write_text("my only copy")
    child = fork(lambda: synthesize(pre, real, out), before=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
    if not until(child, stage):
        return f"the run ended before {stage}: {child.lines[-1] if child.lines else 'no word'}"
    problem = FAULTS[fault][0](child, out)
    if problem:
        return f"{problem} ({child.lines[-1] if child.lines else ''})"
    said = "\n".join(child.lines)
    if "Traceback" in said:
        return "a traceback: " + said[said.index("Traceback") :][-300:]
    if out.exists() and (wrong := _not_whole(out)):
        return wrong
    return _afterwards(pre, real, out, neighbor)


def _not_whole(out: Path) -> str:
    from VirtualContrastLib.results.manifest import verify_result

    if not (out / "manifest.json").is_file():
        return "a folder without a manifest lies under the output's name"
    problems = verify_result(out)
    return f"a result that is not whole: {problems[0]}" if problems else ""


def _afterwards(pre: Path, real: Path, out: Path, neighbor: Path) -> str:
    """The run again: whole, and what the first one left is gone; the user's own folder is not."""
    again = fork(lambda: synthesize(pre, real, out, "--resume"))
    if code := again.finish(LIMIT_S):
        return f"the next run ended with {code}: {again.lines[-1] if again.lines else ''}"
    if wrong := _not_whole(out):
        return wrong
    left = sorted(path.name for path in out.parent.iterdir() if path not in (out, neighbor))
    if left:
        return f"the next run left {', '.join(left)}"
    return "" if (neighbor / "notes.txt").is_file() else "the next run removed a folder of the user's"


def table(cells: dict[tuple[str, str], str]) -> str:
    """The matrix as text, from what is wrong in each cell."""
    lines = [f"{'fault':<13}" + "".join(f"{stage:>11}" for stage in STAGES)]
    for fault in FAULTS:
        words = []
        for stage in STAGES:
            problem = cells.get((fault, stage))
            words.append("-" if problem is None else "FAILED" if problem else "survived")
        lines.append(f"{fault:<13}" + "".join(f"{word:>11}" for word in words))
    return "\n".join(lines)
