"""Tools and servers of Debian's packages dcmtk, dicom3tools and orthanc, as the script unpacked them or of the PATH."""

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
UNPACKED = _CACHE / "virtual-contrast" / "dicom-tools"
ADVICE = "to have it: bash Testing/host/install_dicom_tools.sh"
START_S = 300


def tool(name):
    """The path of a program; the test skips, and says why, where it is not here.

    The PATH comes last: pynetdicom has a program called storescp too.
    """
    places = (f"{UNPACKED}/usr/bin", f"{UNPACKED}/usr/sbin", os.environ.get("PATH", ""))
    return shutil.which(name, path=os.pathsep.join(places)) or pytest.skip(f"{name} is not here; {ADVICE}")


def environment():
    """Where the unpacked programs find their libraries and dictionary."""
    dictionary = next(UNPACKED.glob("usr/share/libdcmtk*/dicom.dic"), "")
    libraries = [*map(str, UNPACKED.glob("usr/lib/*-linux-gnu*")), f"{UNPACKED}/usr/lib"]
    found = {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "DCMDICTPATH": str(dictionary)}
    return {**os.environ, **{name: value for name, value in found.items() if value}}


def run_tool(name, *arguments):
    """Run a program to its end; gives the CompletedProcess with text."""
    return subprocess.run(
        [tool(name), *map(str, arguments)], env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def run_dcmqi(name, *arguments):
    """Run a converter of dcmqi (a wheel of PyPI); the test skips where it is not installed."""
    dcmqi = pytest.importorskip("dcmqi", reason="dcmqi (extra dev) is not installed")
    program = Path(dcmqi.__file__).parent / "bin" / name
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False)


def errors_of_dciodvfy(path):
    """What the validator calls an error."""
    lines = run_tool("dciodvfy", "-new", path).stderr.splitlines()
    # Synthetic Data entered the standard in 2023; the tool's dictionary is older and calls the tag unknown.
    return [line for line in lines if line.startswith("Error") and "(0008,001c)" not in line]


def free_port():
    """A port below those that systems hand out by themselves: nobody gets it before the server that it is for."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    return pytest.fail("of 100 ports none is free")


def certificate(folder):
    """A certificate for 127.0.0.1 that signs itself, and its key (PEM)."""
    openssl = shutil.which("openssl") or pytest.skip("openssl is not here")
    made = folder / "certificate.pem", folder / "key.pem"
    how = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    whom = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-out", made[0], "-keyout", made[1]]
    subprocess.run([openssl, "req", *how, *whom, *out], check=True, capture_output=True)
    return made


@contextmanager
def running(command, answers):
    """A server on loopback, ended at the end of the block; `answers` tells that it has started."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed below; a pipe would fill and stop the server
    server = subprocess.Popen(command, env=environment(), stdout=log, stderr=log)
    try:
        end = time.monotonic() + START_S
        while not answers():
            if server.poll() is not None or time.monotonic() > end:
                log.seek(0)
                pytest.fail(f"{command[0]} does not start: {log.read()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        server.kill()  # what it keeps is thrown away; a polite end takes seconds
        server.wait()
        log.close()


def listens(port):
    """Tells whether somebody listens on a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False


class Orthanc:
    """The archive Orthanc with its DICOMweb plugin on loopback, from an empty store; `web` is its DICOMweb address."""

    def __init__(self, folder):
        self.title, self.port, self.http = "ORTHANC", free_port(), free_port()
        self.rest = f"http://127.0.0.1:{self.http}"
        self.web = f"{self.rest}/dicom-web"
        self.address = f"{self.title}@127.0.0.1:{self.port}"
        program = tool("Orthanc")
        plugin = next(iter(UNPACKED.glob("usr/lib/orthanc/libOrthancDicomWeb.so*")), None)
        plugin = plugin or next(iter(Path("/usr/lib/orthanc").glob("libOrthancDicomWeb.so*")), None)
        settings = {
            "StorageDirectory": str(folder / "store"),
            "IndexDirectory": str(folder / "store"),
            "DicomAet": self.title,
            "DicomPort": self.port,
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowFind": True,
            "Plugins": [str(plugin or pytest.skip(f"Orthanc's DICOMweb plugin is not here; {ADVICE}"))],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        self._command = [program, str(folder / "orthanc.json")]

    @contextmanager
    def running(self):
        with running(self._command, lambda: self._answers() and listens(self.port)):
            yield self

    def _answers(self):
        with suppress(urllib.error.URLError, OSError):
            return urllib.request.urlopen(f"{self.rest}/system", timeout=30).status == 200
        return False

    def clear(self):
        """Forget all patients."""
        for patient in json.load(urllib.request.urlopen(f"{self.rest}/patients")):
            urllib.request.urlopen(urllib.request.Request(f"{self.rest}/patients/{patient}", method="DELETE"))
