"""`streamrnn watch`: a stranger's table, and in a moment what a network makes of it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from daemon import TIMEOUT

from streamrnn import config as configuration


def watch(*arguments, input=None, folder=None):
    """What `streamrnn watch` came to."""
    command = [sys.executable, "-m", "streamrnn", "watch", *map(str, arguments)]
    return subprocess.run(command, input=input, capture_output=True, timeout=TIMEOUT, encoding="utf-8", cwd=folder)


def table(path, rows=400, step=600):
    """Readings of two channels, and a text between them; the values (rows, 2)."""
    rng = np.random.default_rng(0)
    x = np.round(np.sin(np.arange(rows) / 5)[:, np.newaxis] * [1, 4] + rng.normal(0, 0.1, (rows, 2)), 4)
    times = np.datetime64("2024-03-01T00:00") + np.arange(rows) * np.timedelta64(step, "s")
    lines = [f"{t};{a};warm;{b}" for t, (a, b) in zip(times.astype(str), x.tolist(), strict=True)]
    path.write_text("when;flow;state;pump\n" + "\n".join(lines).replace(".", ",") + "\n")
    return x


def errors_by_hand(x):
    """Mean absolute errors of "the same again", and of "as a day ago" (144 readings)."""
    return np.abs(x[2:] - x[1:-1]).mean(axis=0), np.abs(x[145:] - x[1:-144]).mean(axis=0)


def test_a_file_needs_no_config_and_its_errors_are_beside_naive_ones(tmp_path):
    path, config, out = tmp_path / "plant.csv", tmp_path / "plant.toml", tmp_path / "out.json"
    x = table(path)
    done = watch(path, "--write-config", config, "--json", out)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    found = json.loads(out.read_text())
    assert found["frames"] == len(x)
    errors = found["errors"]
    again, yesterday = errors_by_hand(x)
    assert errors["name"] == ["flow", "pump"]
    assert errors["scored"] == [len(x) - 2] * 2
    np.testing.assert_allclose(errors["same_again"], again, rtol=1e-12)
    np.testing.assert_allclose(errors["season"], yesterday, rtol=1e-12)
    for own, naive in zip(errors["forecast"], errors["same_again"], strict=True):
        assert own < 0.9 * naive
    lines = done.stdout.splitlines()
    heading = next(k for k, line in enumerate(lines) if line.startswith("mean error of"))
    assert [line.split()[:2] for line in lines[heading + 1 : heading + 3]] == [["flow", "398"], ["pump", "398"]]
    assert lines[heading].split() == [
        "mean",
        "error",
        "of",
        "scored",
        "forecast",
        "same",
        "again",
        "ratio",
        "yesterday",
        "ratio",
    ]
    written = configuration.load(config)
    assert (written.input.channels, written.readout.seasons) == (["flow", "pump"], (144,))
    assert written.source.path == str(path)


def test_standard_input_is_read_as_it_comes(tmp_path):
    path = tmp_path / "plant.csv"
    x = table(path)
    done = watch("-", "--json", tmp_path / "out.json", input=path.read_text(), folder=tmp_path)
    assert done.returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["frames"] == len(x)


def test_devices_are_streams_of_their_own(tmp_path):
    path, rows = tmp_path / "devices.jsonl", []
    for k in range(300):
        rows.append({"device": "ab"[k % 2], "t": 1_700_000_000 + 60 * k, "temp": 10.0 * (k % 2) + k % 7})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = watch(path, "--key", "device", "--json", tmp_path / "out.json")
    assert done.returncode == 0
    errors = json.loads((tmp_path / "out.json").read_text())["errors"]
    a, b = (np.array([row["temp"] for row in rows if row["device"] == name]) for name in "ab")
    wanted = np.concatenate([np.abs(np.diff(x[1:])) for x in (a, b)]).mean()
    assert errors["scored"] == [296]
    assert errors["same_again"][0] == pytest.approx(wanted, rel=1e-12)


def test_a_row_that_cannot_be_read_ends_it_with_one_line_that_names_it(tmp_path):
    path = tmp_path / "plant.csv"
    table(path)
    lines = path.read_text().splitlines()
    lines[200] = lines[200].replace("warm;", "warm;x")
    path.write_text("\n".join(lines) + "\n")
    done = watch(path, "--json", tmp_path / "out.json")
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "line 201" in line]
    assert len(told) == 1
    assert f"{path}: line 201, column pump" in told[0]
    assert json.loads((tmp_path / "out.json").read_text())["frames"] == 199  # those before it
    done = watch(path, "--bad-rows", "skip", "--json", tmp_path / "out.json")
    assert done.returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["frames"] == 399


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.csv", None, "no such file"),
        ("words.csv", "a,b\nx,y\nu,v\n", "number"),
        ("empty.csv", "", "has no row of numbers"),
        ("two\nlines.csv", None, "no such file"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(tmp_path, name, text, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    done = watch(path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_units_under_the_header_are_kept(tmp_path):
    path, config = tmp_path / "plant.csv", tmp_path / "plant.toml"
    rows = "".join(f"{k},{k % 7},{k % 5}\n" for k in range(50))
    path.write_text(f"t,flow,temp\ns,m³/h,°C\n{rows}")
    assert watch(path, "--time", "", "--columns", "flow,temp", "--write-config", config).returncode == 0
    assert configuration.load(config).input.units == {"flow": "m³/h", "temp": "°C"}
    config.write_text(config.read_text().replace('"flow" = ', '"fluw" = '))
    with pytest.raises(configuration.ConfigError, match=r'"input\.units" names "fluw"'):
        configuration.load(config)


def test_a_column_that_is_not_there_is_named(tmp_path):
    table(tmp_path / "plant.csv")
    done = watch(tmp_path / "plant.csv", "--columns", "flow,pressure")
    assert done.returncode == 2
    assert "pressure" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_shows_every_channel(tmp_path, ending):
    table(tmp_path / "plant.csv", rows=600)
    picture = tmp_path / f"plant.{ending}"
    done = watch(tmp_path / "plant.csv", "--plot", picture)
    assert done.returncode == 0
    data = picture.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG")
        assert len(data) > 20_000
    else:
        for text in ("flow", "pump", "surprise (nats)", "600 readings", "the last 200"):
            assert f"<!-- {text}" in data.decode() or f"{text} -->" in data.decode()


def test_a_picture_of_another_kind_is_refused_before_anything_starts(tmp_path):
    table(tmp_path / "plant.csv")
    done = watch(tmp_path / "plant.csv", "--plot", tmp_path / "plant.gif")
    assert (done.returncode, done.stdout) == (2, "")
    assert ".png or .svg" in done.stderr
