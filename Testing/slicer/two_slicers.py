"""One of two Slicer processes of `test_logic`: runs volumes of its own, all at the same second as the other process.

    python two_slicers.py NAME VALUE ROUNDS SHARED

The runs are those of a stand-in for the engine that writes phases of the source's values + 1, + 2, + 3 through the real
writer. Prints one line a round: the value of each phase that came into the scene.
"""

import datetime
import sys
import time
from pathlib import Path

TESTING = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTING / "host"), str(TESTING.parent / "VirtualContrast"), str(TESTING / "slicer"), str(TESTING)]

import slicer_host  # noqa: E402

slicer_host.boot(main_window=False)

import numpy as np  # noqa: E402
import slicer  # noqa: E402
from module_samples import add_volume, worker_command  # noqa: E402
from VirtualContrastLib.slicer_app.run import synthesis_run  # noqa: E402
from VirtualContrastLib.slicer_app.run.engine_process import EngineProcess  # noqa: E402

ENGINE = """
def run(source, out, settings, real, events, models):
    import SimpleITK as sitk
    from VirtualContrastLib.results.manifest import Manifest
    from VirtualContrastLib.results.writer import ResultWriter
    pre = sitk.ReadImage(str(source))
    entries = [{"index": n, "time_s": 90.0 * n, "file": f"phases/phase_{n}.nrrd"} for n in (1, 2, 3)]
    model = {"role": "synthesis", "id": "x", "version": "1", "weights_sha256": "", "trained_on_phantoms": True}
    with ResultWriter(out) as writer:
        for entry in entries:
            writer.image(pre + entry["index"], entry["file"])
        return writer.finish(Manifest(
            kind="synthesis", run_id="", created_utc="", fingerprint="", inputs=[], settings={}, device={},
            models=[model], versions={}, phases=entries, arbitrary_units=False, timing_s={}, warnings=[],
            summary={}))
"""


class OneSecond(datetime.datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, 12, 0, 0, tzinfo=tz)


def meet(shared, name, number):
    """Wait until the other process is here too."""
    (shared / f"{number}.{name}").touch()
    end = time.monotonic() + 300
    while len(list(shared.glob(f"{number}.*"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.002)


def main():
    name, value, rounds, shared = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    slicer.app.temporaryPath = str(shared)
    synthesis_run.datetime.datetime = OneSecond
    synthesis = synthesis_run.SynthesisRunner(EngineProcess(worker_command(ENGINE)))
    volume = add_volume(np.full((4, 16, 16), value, np.int16))
    for number in range(rounds):
        meet(shared, name, number)
        loaded = synthesis.process(volume, output_folder=shared / "out")
        phases = [slicer.mrmlScene.GetNodeByID(phase.volume) for phase in loaded.phases]
        print(*(int(slicer.util.arrayFromVolume(phase).mean()) for phase in phases), flush=True)
    synthesis.shutdown()


main()
