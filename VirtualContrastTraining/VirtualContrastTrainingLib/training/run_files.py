"""Names and forms of the small files by which a run and whoever watches it talk; needs nothing but Python.

`<run>/progress.json` says how far the run is. A file `<run>/stop` ends it after the present step, checkpointed: the
one way that works on every system, for one process and for many. `<stage>/samples/epoch_NNNN.png` are pictures.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from VirtualContrastLib.files import atomic_file

WARM_UP = "warm_up"
"""Folder below the run of the stage before the last, for the systems that have one."""
NNUNET_CHECKPOINTS = "nnunet/results/*/*/fold_*/checkpoint_latest.pth"
"""Below the run of an nnU-Net recipe: what it continues from. nnU-Net removes it at the end."""
PROGRESS, STOP, SAMPLES = "progress.json", "stop", "samples"


@dataclass(frozen=True)
class Progress:
    """Where a stage of a run is: `step` of `steps` of `epoch` of `epochs` are done.

    Attributes:
        stage: Name of its folder below the run, "" for the last stage.
        epoch: The present epoch, from 1.
        epochs: Epochs of the stage.
        step: Steps of the epoch that are done.
        steps: Steps of an epoch.
        left_s: Seconds to the end of the stage at the present speed, None while it is too early to estimate.
        device: Where it computes ("cpu", "cuda:0").
    """

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    left_s: float | None = None
    device: str = ""

    @property
    def fraction(self) -> float:
        """Share of the stage that is done, 0..1."""
        done = self.epoch - 1 + self.step / max(1, self.steps)
        return min(1.0, max(0.0, done / max(1, self.epochs)))

    def write(self, run: Path) -> None:
        """Replace the file of `run`; a reader sees the old one or the new one, never a part.

        Where the system refuses (a reader has it open on Windows), the next one will tell.
        """
        with contextlib.suppress(OSError), atomic_file(run / PROGRESS, flush=False) as partial:
            partial.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, run: Path) -> Progress | None:
        """What the file of `run` says; None where there is none, or none of this form."""
        try:
            return cls(**json.loads((run / PROGRESS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def stages(run: Path) -> list[Path]:
    """Folders of the run's stages, in order."""
    return [run / WARM_UP, run]


def sample_name(epoch: int) -> str:
    """File name of the pictures after `epoch` (from 1)."""
    return f"epoch_{epoch:04d}.png"
