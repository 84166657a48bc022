"""What becomes of freed memory: the next image finds it, and other C libraries stay as they are."""

import platform
import subprocess
import sys

import pytest

from engines.housekeeping import free_memory
from engines.machine import malloc

_COUNT_FAULTS = """
import resource, sys
from engines.machine.malloc import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fill_and_free():
    return len([b"x" * 1_000_000 for _ in range(6)])  # such as an image's, decoded, cropped and resized

for _ in range(5):
    fill_and_free()
before = faults()
for _ in range(20):
    fill_and_free()
print((faults() - before) / 20)
"""


def page_faults(choice):
    """Return how many pages the kernel has to map, on average, for buffers as large as those before."""
    process = subprocess.run(
        [sys.executable, "-c", _COUNT_FAULTS, choice], capture_output=True, text=True, check=True
    )
    return float(process.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_the_next_buffers_find_the_freed_memory_of_the_last():
    assert page_faults("keep") < 10 < 100 < page_faults("return")


@pytest.mark.parametrize("failure", [OSError, AttributeError])
def test_other_c_libraries_stay_as_they_are(monkeypatch, failure):
    def cdll(name):
        raise failure(name)

    monkeypatch.setattr(malloc.ctypes, "CDLL", cdll)
    malloc.keep_freed_memory()
    free_memory()
