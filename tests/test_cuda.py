"""Stages on a simulated device, against the kernels of the CPU: all numbers are the same to the bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from daemon import TIMEOUT
from device_cases import CASES, LONG, QUICK, Kernels, counts, result

PROGRAM = Path(__file__).with_name("device_cases.py")


def as_bits(array):
    """Numbers as integers; what is none is the same whatever its bits are."""
    whole = np.where(np.isnan(array), np.nan, array).astype(array.dtype)
    return whole.view(f"i{array.dtype.itemsize}")


def different(folder, names, seed):
    """By case, the names of the arrays in which a simulated device finds other bits."""
    expected = {name: result(CASES[name], Kernels) for name in names}
    for name, arrays in expected.items():
        np.savez(folder / f"{name}.npz", **arrays)
    command = [sys.executable, PROGRAM, folder, str(seed), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * TIMEOUT)
    assert done.returncode == 0, done.stderr
    wrong = {}
    for name, arrays in expected.items():
        found = dict(np.load(folder / f"{name} simulated.npz"))
        arrays = {key: array for key, array in arrays.items() if not key.startswith("half")}
        assert found.keys() == arrays.keys()
        wrong[name] = [key for key in arrays if not np.array_equal(as_bits(found[key]), as_bits(arrays[key]))]
        print(name, counts(arrays))
    return {name: keys for name, keys in wrong.items() if keys}


def test_a_device_has_the_bits_of_the_cpu(tmp_path):
    assert different(tmp_path, [*QUICK], seed=1) == {}


@pytest.mark.long
def test_a_device_has_the_bits_of_the_cpu_whatever_it_does(tmp_path):
    assert different(tmp_path, [*LONG], seed=2) == {}
