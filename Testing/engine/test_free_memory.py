"""Memory that a process may still take: control groups of both versions on made-up trees, and a real limit."""

import math
import platform
import subprocess
import sys

import pytest
from VirtualContrastLib.free_memory import free_memory, group_room

MIB = 2**20
V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("", "memory.max", "memory.current", "inactive_file")


def group(root, version, path, most, used, files=0):
    """A group of the tree below `root`; sizes in MiB, `most` may be the word of no limit."""
    controllers, limit, usage, inactive = version
    folder = root / "sys/fs/cgroup" / controllers / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit).write_text(f"{most if isinstance(most, str) else most * MIB}\n")
    (folder / usage).write_text(f"{used * MIB}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{inactive} {files * MIB}\n")


def of_process(root, *lines):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(("version", "line"), [(V1, "4:memory:/slurm/job"), (V2, "0::/slurm/job")])
def test_the_narrowest_group_around_the_process_counts(tmp_path, version, line):
    of_process(tmp_path, "3:cpuset:/elsewhere", line)
    group(tmp_path, version, "slurm/job", 900, 500)
    group(tmp_path, version, "slurm", 1000, 800, files=50)  # other jobs take the rest
    group(tmp_path, version, "other", 10, 10)
    assert group_room(tmp_path) == 250 * MIB


@pytest.mark.parametrize(("version", "line"), [(V1, "4:memory:/docker/abc"), (V2, "0::/docker/abc")])
def test_within_a_container_the_top_of_the_mount_is_its_group(tmp_path, version, line):
    of_process(tmp_path, line)
    group(tmp_path, version, "", 512, 112, files=12)
    assert group_room(tmp_path) == 412 * MIB


def test_what_is_used_beyond_a_limit_leaves_nothing(tmp_path):
    of_process(tmp_path, "0::/")
    group(tmp_path, V2, "", 100, 120)
    assert group_room(tmp_path) == 0


def test_without_a_limit_nothing_is_known(tmp_path):
    assert group_room(tmp_path) == math.inf  # no Linux
    of_process(tmp_path, "0::/job", "4:memory:/job")
    assert group_room(tmp_path) == math.inf  # no readable group
    group(tmp_path, V2, "job", "max", 7)
    assert group_room(tmp_path) == math.inf


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds to a limit of the address space")
def test_a_limit_of_the_address_space_counts():
    code = (
        "import resource\n"
        "import psutil\n"
        "from VirtualContrastLib.free_memory import free_memory\n"
        f"limit = psutil.Process().memory_info().vms + 64 * {MIB}\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print(free_memory())"
    )
    told = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 32 * MIB < told <= 64 * MIB


def test_here_some_memory_is_free():
    assert 16 * MIB < free_memory() < math.inf


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library keeps what is freed")
def test_freed_memory_goes_back_to_the_system():
    """Of small blocks every second one is freed: nothing at the end of the heap, so that they stay without asking."""
    code = (
        "import ctypes, psutil\n"
        "from VirtualContrastLib.free_memory import return_freed\n"
        "c = ctypes.CDLL(None)\n"
        "c.malloc.restype, c.free.argtypes, c.memset.argtypes = ctypes.c_void_p, [ctypes.c_void_p], "
        "[ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]\n"
        "blocks = [c.malloc(100_000) for _ in range(1000)]\n"
        "[c.memset(block, 1, 100_000) for block in blocks]\n"
        "[c.free(block) for block in blocks[::2]]\n"
        "before = psutil.Process().memory_info().rss\n"
        "return_freed()\n"
        "print(before - psutil.Process().memory_info().rss)"
    )
    told = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert told > 30_000_000  # of the 50 MB that are free


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library keeps what is freed")
@pytest.mark.parametrize("keeps", [True, False])
def test_memory_of_arrays_is_kept_where_asked_for(keeps):
    code = (
        "import numpy, psutil\n"
        "from VirtualContrastLib.free_memory import keep_freed\n"
        f"{'keep_freed()' if keeps else ''}\n"
        "arrays = [numpy.ones(1_000_000) for _ in range(10)]\n"
        "before = psutil.Process().memory_info().rss\n"
        "del arrays\n"
        "print(before - psutil.Process().memory_info().rss)"
    )
    told = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert (told < 8_000_000) == keeps  # of 80 MB
