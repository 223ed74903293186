"""Downloads the real test images that may be had unmodified from public repositories, and verifies every one.

    python Testing/get_test_data.py FOLDER [--mirror URL]
    VIRTUALCONTRAST_TEST_DATA=FOLDER make test

`test_data.json` beside this file names repository, commit, license, path and SHA-256 of each. Some tests need sets that
are derived from public data (crops of BreastDCEDL, one Duke study, pairs of CDD-CESM); those still skip and say so.
Needs the standard library alone. Files that are there and right are kept, so calling again resumes a broken download.
"""

import argparse
import hashlib
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

LIST = Path(__file__).with_name("test_data.json")
MIRROR = "https://raw.githubusercontent.com"


def is_right(path: Path, sha256: str) -> bool:
    """The file is there with the content that the list names."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def get(url: str, path: Path, sha256: str) -> str | None:
    """Download to `path`; the reason as one sentence where that fails, and nothing is left then."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content = answer.read()
    except (urllib.error.URLError, OSError) as error:
        return f"{url} cannot be read ({error})."
    if hashlib.sha256(content).hexdigest() != sha256:
        return f"{url} is not the file that the list names (another SHA-256)."
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
    return None


def main(arguments: list[str]) -> int:
    """Get what is missing; 0 where all is there, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the test data go")
    parser.add_argument("--mirror", default=MIRROR, help="base of the addresses: MIRROR/owner/name/commit/path")
    parser.add_argument("--list", type=Path, default=LIST, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    failed = []
    for source in json.loads(options.list.read_text(encoding="utf-8")):
        files = source["files"]
        print(f"{source['repository']}: {len(files)} files, license: {source['license']}")
        for name, (place, sha256) in files.items():
            if not is_right(options.folder / name, sha256):
                path = urllib.parse.quote(f"{source['repository']}/{source['commit']}/{place}")
                failed.append(get(f"{options.mirror}/{path}", options.folder / name, sha256))
    reasons = [reason for reason in failed if reason]
    print("\n".join(reasons[:10]) or f"All files are there: VIRTUALCONTRAST_TEST_DATA={options.folder} make test")
    if len(reasons) > 10:
        print(f"... and {len(reasons) - 10} more; call again to go on.")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
