"""A run on disk as the panel sees it: how it was started, how far it is, its curves, pictures and model."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from ..training.run_files import NNUNET_CHECKPOINTS, PROGRESS, SAMPLES, STOP, Progress, stages
from .metrics_file import HELD_OUT, Curve, StageMetrics, one_after_the_other

START = "panel.json"
"""File of the run that says how the panel started it."""


@dataclass(frozen=True)
class Start:
    """What the user chose.

    Attributes:
        recipe: A name, or the path of a YAML file.
        train: Folder of the training cases.
        validation: Folder of the held-out cases.
        smoke: Whether only a few steps are run.
        precision: Precision, "" for the recipe's.
        devices: Number of devices.
        changes: KEY=VALUE ... as in a shell.
    """

    recipe: str
    train: str = ""
    validation: str = ""
    smoke: bool = False
    precision: str = ""
    devices: int = 1
    changes: str = ""

    def arguments(self, run: Path, *, resume: bool) -> list[str]:
        """The command line. A run that is continued takes the recipe that it wrote, with every change in it.

        A smoke trial has no data on disk to continue with: it shrinks its recipe and simulates its cases once more.
        """
        own = resume and not self.smoke and (run / "recipe.yaml").is_file()
        line = ["train", str(run / "recipe.yaml") if own else self.recipe, "--output", str(run)]
        if not own:
            for key, folder in (("train", self.train), ("validation", self.validation)):
                line += ["--set", f"data.{key}={json.dumps(folder)}"] if folder and not self.smoke else []
            line += [part for change in shlex.split(self.changes) for part in ("--set", change)]
        line += ["--devices", str(self.devices)] if self.devices > 1 else []
        line += ["--precision", self.precision] if self.precision else []
        return line + ["--smoke"] * self.smoke + ["--resume"] * resume


class RunFolder:
    """The folder of a run that is running, was stopped or is done; none of its files needs to be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stages = [StageMetrics(stage) for stage in stages(folder)]
        self.losses: dict[str, Curve] = {}
        self.held_out: dict[str, Curve] = {}
        self._progress: Progress | None = None

    def poll(self) -> bool:
        """Read what came to the curves since the last time; True where something did."""
        changed = any([stage.poll() for stage in self._stages])
        if changed:
            curves = one_after_the_other([stage.curves() for stage in self._stages])
            self.held_out = {name: curve for name, curve in curves.items() if name.startswith(HELD_OUT)}
            self.losses = {name: curve for name, curve in curves.items() if name not in self.held_out}
        return changed

    @property
    def exists(self) -> bool:
        """There is a run, or the start of one."""
        return self.has_checkpoint or self.model is not None

    @property
    def has_checkpoint(self) -> bool:
        """There is something to continue from."""
        ours = any((stage / "checkpoints" / "last.ckpt").is_file() for stage in stages(self.folder))
        return ours or any(self.folder.glob(NNUNET_CHECKPOINTS))

    @property
    def progress(self) -> Progress | None:
        """How far it was at the last report; a file that is just being replaced gives nothing new."""
        self._progress = Progress.read(self.folder) or self._progress
        return self._progress

    @property
    def model(self) -> Path | None:
        """The model package that the run ended with."""
        model = self.folder / "model"
        return model if (model / "model.json").is_file() and (model / "weights.safetensors").is_file() else None

    @property
    def title(self) -> str:
        """The id of the recipe, the folder's name where there is none."""
        try:
            text = (self.folder / "recipe.yaml").read_text(encoding="utf-8")
        except OSError:
            return self.folder.name
        found = re.search(r"^id: *(\S+)", text, re.MULTILINE)
        return found[1] if found else self.folder.name

    def samples(self) -> list[Path]:
        """The pictures of held-out data, in the order they were made."""
        return [path for stage in stages(self.folder) for path in sorted((stage / SAMPLES).glob("epoch_*.png"))]

    def start(self) -> Start:
        """How the panel started it; a run from elsewhere continues with its own recipe."""
        try:
            return Start(**json.loads((self.folder / START).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Start(str(self.folder / "recipe.yaml"))

    def begin(self, start: Start) -> None:
        """Make the folder ready for a start: note it, and forget the progress of an earlier one. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / START).write_text(json.dumps(asdict(start), indent=1), encoding="utf-8")
        for name in (PROGRESS, STOP):
            (self.folder / name).unlink(missing_ok=True)
        self._progress = None

    def ask_to_stop(self) -> None:
        """Let the run end with a checkpoint after the step it is in. Raises OSError."""
        (self.folder / STOP).touch()

    @property
    def has_stopped(self) -> bool:
        """After `ask_to_stop`: the run has received it and has written its checkpoint."""
        return not (self.folder / STOP).exists()
