"""The worker process survives lines that are not commands, and still hears the commands after them."""

import subprocess
import sys

from VirtualContrastLib.worker.protocol import AskDevice, Bye, DeviceAnswer, Quit, decode, encode

BAD_LINES = (
    b"plain text",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b"{",
    b"{}",
    b'{"message": ["Run"]}',
    b'{"message": "Run"}',
    b'{"message": "Cancel", "number": {}}',
    b'{"message": "Cancel", "number": 1, "more": 2}',
    b'{"message": "Quit", "why": "Doe^Jane"}',
    b'{"a":' * 20_000,
    b'{"message": "Run", "number": 7, "source": 5, "out": null, "settings": {}}',
    b'{"message": "AskDevice", "wanted": []}',
)


def test_after_bad_lines_the_worker_still_answers_and_quits():
    good = encode(AskDevice("abacus")) + encode(Quit())
    worker = subprocess.Popen(
        [sys.executable, "-m", "VirtualContrastLib.worker.process", "--idle", "60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    worker.stdin.write(b"\n".join(BAD_LINES) + b"\n" + good)
    worker.stdin.flush()  # and stays open: its end would end the worker
    with worker:
        said = [decode(line.decode()) for line in worker.stdout]
        log = worker.stderr.read().decode()
    assert worker.returncode == 0
    assert [one.wanted for one in said if isinstance(one, DeviceAnswer)] == ["abacus"]
    assert said[-1] == Bye("quit")
    assert log.count("is not a command") == len(BAD_LINES)
    assert "Doe^Jane" not in log
