"""Exit codes and leftovers of the commands."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import SimpleITK as sitk
from VirtualContrastLib.cli.main import main
from VirtualContrastTrainingLib.cli import main as training_main

from .registry import IMAGE, kind


def command(name: str, wanted: str, *line: str, training: bool = False) -> None:
    @kind("exit", name, " ".join(("virtual-contrast-training" if training else "virtual-contrast", line[0])), wanted)
    def _(folder: Path) -> str:
        sitk.WriteImage(sitk.Cast(IMAGE, sitk.sitkFloat32), str(folder / "pre.nrrd"))
        before = sorted(folder.rglob("*"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = (training_main if training else main)([part.format(folder=folder) for part in line])
        assert sorted(folder.rglob("*")) == before, "something was left"
        sentences = [text for text in out.getvalue().splitlines() if text.startswith("Error")]
        assert len(sentences) == 1, out.getvalue()
        return f"{code}: {sentences[0].replace(str(folder) + '/', '')}"


PRE, OUT = "{folder}/pre.nrrd", ("-o", "{folder}/out")
command("empty input", r"2: .*argument is empty.*", "synthesize", "", *OUT)
command("input of 300 characters", r"2: .*", "synthesize", "x" * 300, *OUT)
command("-o of 300 characters", r"2: .*too long.*", "synthesize", PRE, "-o", "{folder}/" + "x" * 300)
command("--seed -1", r"2: .*seed.*", "synthesize", PRE, *OUT, "--seed", "-1", "--uncertainty", "2")
command("a model that is not there", r"2: .*no-such-model.*", "synthesize", PRE, *OUT, "--model", "no-such-model")
command("a table that is not there", r"2: .*does not exist.*", "batch", "{folder}/t.csv", *OUT)
command("batch into 300 characters", r"2: .*too long.*", "batch", "{folder}", "-o", "{folder}/" + "x" * 300)
command("send of what is no result", r"2: .*", "send", "{folder}", "--to", "A@127.0.0.1:104")
command("models verify of what is no package", r"2: .*", "models", "verify", "{folder}")
command(
    "evaluate of an empty folder",
    r"2: .*",
    "evaluate",
    "--real",
    "{folder}/none",
    "--synthetic",
    PRE,
    *OUT,
    training=True,
)
command(
    "evaluate of sizes that differ", r"2: .*", "evaluate", "--real", PRE, "--synthetic", "{folder}", *OUT, training=True
)
