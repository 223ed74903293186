"""The table of everything tried: kind, command, outcome, wanted; `--all` prints it in full. Ends with 1 on a miss."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / place) for place in ("corpus", "engine")]
from kinds import KINDS, fits, told  # noqa: E402


def main() -> int:
    missed, width = 0, None if "--all" in sys.argv else 90
    print("| group | kind | command | outcome | wanted | |\n| --- | --- | --- | --- | --- | --- |")
    for one in KINDS:
        with tempfile.TemporaryDirectory() as place:
            outcome = told(one.outcome, Path(place))
        right = fits(one, outcome)
        missed += not right
        cells = [one.group, one.name, one.command, outcome[:width], one.wanted[:width], "ok" if right else "MISSED"]
        print("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    print(f"\n{len(KINDS)} kinds, {missed} missed.")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
