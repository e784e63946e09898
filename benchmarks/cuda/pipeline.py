"""A daemon with one worker on the GPU and one on the CPU, beside one that has no GPU: the same bits of the parameters.

configs/text.toml reads so many bytes and learns from each.
"""

from typing import Any, NamedTuple

from benchmarks.shared.daemon import learn, text_config

UNITS, FRAMES, PLACEMENT = 96, 20_000, [1, 2]
CPU, MIXED = ["cpu", "cpu"], (["cpu", "cuda:0"], ["cuda:0", "cpu"])
ALIKE = "frames", "bits_per_symbol", "parameters_sha256"


class Mixed(NamedTuple):
    """What became of one placement on devices."""

    devices: list[str]
    differs: list[str]  # what of it is not as on the CPU
    failure: str  # why it could not run, "" where it could


def config(devices: list[str]) -> str:
    """configs/text.toml with its workers on these devices."""
    text, line = text_config(UNITS, PLACEMENT), f"placement = {PLACEMENT}"
    named = ", ".join(f'"{device}"' for device in devices)
    return text.replace(line, f"{line}\ndevices = [{named}]") if devices != CPU else text


def result(devices: list[str]) -> dict[str, Any]:
    """What the daemon came to."""
    return learn(config(devices), "--max-frames", str(FRAMES))


def mixed() -> list[Mixed]:
    """Each way of having one worker on the GPU."""
    reference, found = result(CPU), []
    for devices in MIXED:
        try:
            came = result(devices)
        except RuntimeError as error:
            found.append(Mixed(devices, [], str(error)))
        else:
            differs = [
                f"{name}: {came[name]}, not {reference[name]}" for name in ALIKE if came[name] != reference[name]
            ]
            found.append(Mixed(devices, differs, ""))
    return found
