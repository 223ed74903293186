"""Starts the training processes of one host with torchrun; clusters start them with srun or torchrun themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from VirtualContrastLib.events import CancelledError, InputError, VirtualContrastError

_LIBRARY = __package__.rpartition(".")[0]


def is_launched() -> bool:
    """Whether torchrun or srun started this process as one of several."""
    return "WORLD_SIZE" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_first() -> bool:
    """Whether this process is the only one, or the first of several."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def needs_launch(devices: int, num_nodes: int) -> bool:
    """Whether this process has to start the others; raises InputError where only a cluster's launcher can."""
    if devices * num_nodes == 1 or is_launched():
        return False
    if num_nodes > 1:
        raise InputError(
            f"--num-nodes {num_nodes} needs a launcher on every host: start this command with torchrun or srun (see "
            "the README of VirtualContrastTraining)."
        )
    return True


def launch_ranks(arguments: Sequence[str], processes: int) -> None:
    """Run our command line `arguments` in `processes` processes of this host until all have ended.

    When one of them fails or is killed, torchrun ends the others; raises VirtualContrastError then, CancelledError
    when interrupted.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with subprocess.Popen([*command, "-m", _LIBRARY, *arguments], env=environment) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt as error:
            child.terminate()
            child.wait()
            raise CancelledError("Stopped; continue from the last checkpoint with --resume.") from error
    if code != 0:
        raise VirtualContrastError(
            f"One of the {processes} training processes failed or was killed (its own message is above), so all were "
            "ended; the last good checkpoint is kept, continue from it with --resume."
        )
