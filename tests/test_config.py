"""The configuration: what is valid loads, and whatever is not ends in one line that names the file and the key."""

import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest
from daemon import TIMEOUT
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from streamrnn.cli.describe import describe
from streamrnn.config import Config, ConfigError, load, network_line, parse, stages, taken_over, workers
from streamrnn.config.schema import tables
from streamrnn.kernels.anomaly import DETECTORS, FACTS
from streamrnn.model.optimizers import SGD
from streamrnn.protocol.addresses import as_seen_with
from streamrnn.sources.sensors import sensor_names
from streamrnn.sources.text import TextConfig

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
TEXT = (Path(__file__).parent.parent / "configs" / "text.toml").read_text()
TEXT = re.sub(r"\[pipeline\]\n.*?\n\n", "", TEXT)  # tests bring their own
SOCKET = (Path(__file__).parent.parent / "configs" / "socket.toml").read_text()
LAST = len(TEXT.splitlines())  # its last line says how many passes


def problem(text: str, **options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.toml", **options)
    message = str(caught.value)
    assert message.startswith("x.toml: ")
    assert len(message.splitlines()) == 1
    return message


def changed(old: str, new: str, text: str = TEXT) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_load_under_their_file_names(path):
    config = load(path)
    assert config.name == path.stem
    again = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    assert again == config  # a checkpoint may keep it


def test_a_config_needs_nothing_that_takes_long_to_import():
    slow = "{'numba', 'numpy', 'psutil', 'rich', 'zmq'}"
    code = f"import sys, streamrnn.config; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_plan_fits_into_80_columns_and_names_every_address(path):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(describe(load(path)))
    plan = console.export_text()
    assert max(map(len, plan.splitlines())) <= 80
    for word in ("layer 1", "readout", "worker 1", *msgspec.structs.astuple(load(path).sockets)):
        assert word in plan


def test_the_text_config_is_the_one_of_the_readme():
    config = load(next(path for path in CONFIGS if path.stem == "text"))
    assert [(layer.cell, layer.units) for layer in config.layers] == [("lstm", 128)] * 2
    assert (config.optimizer.kind, config.optimizer.learning_rate) == ("adam", 2e-3)
    assert (config.learning.window, config.learning.gradient_delay, config.learning.clip_norm) == (16, 1, 1.0)
    assert config.source == TextConfig(path=None, passes=0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("window = 16", "windw = 16", 'unknown key "learning.windw"; did you mean "window"?'),
        ("[learning]", "[learing]", 'unknown key "learing"; did you mean "learning"?'),
        ("units =", "unit =", 'unknown key "layers[0].unit"; did you mean "units"?'),
        ("\nname", "\nwindow = 3\nname", 'unknown key "window"; did you mean "learning.window"?'),
        ("\nname", "\nzebra = 3\nname", 'unknown key "zebra"; the keys here are name, input'),
        ("2e-3", "2e-3\nmomentum = 0.9", 'unknown key "optimizer.momentum"; kind "adam" has kind, learning_rate'),
        ("window = 16", "window = 0", '"learning.window" must be an integer from 1 to 65536, not 0'),
        ("window = 16", "window = true", '"learning.window" must be an integer from 1 to 65536, not true'),
        ("window = 16", 'window = "16"', '"learning.window" must be an integer from 1 to 65536, not "16"'),
        ("window = 16", "window = 2020-01-01", "not 2020-01-01"),
        ("clip_norm = 1.0", "clip_norm = nan", '"learning.clip_norm" must be a number from 0'),
        ("clip_norm = 1.0", "clip_norm = inf", '"learning.clip_norm" must be a number from 0'),
        ("2e-3", "0", '"optimizer.learning_rate" must be a number > 0 and <= 1000, not 0'),
        ("2e-3", "inf", '"optimizer.learning_rate" must be a number > 0'),
        ("learning_rate = 2e-3", "", '"optimizer.learning_rate" is missing; it must be a number > 0'),
        ("2e-3", "2e-3\nbeta1 = 1.0", '"optimizer.beta1" must be a number >= 0 and < 1, not 1.0'),
        ('"adam"', '"adamw"', '"optimizer.kind" must be "sgd", "rmsprop", "adagrad" or "adam", not "adamw"; did you'),
        ('kind = "adam"', "", '"optimizer.kind" is missing; it must be "sgd"'),
        (
            'cell = "lstm"',
            'cell = "lsmt"',
            '"layers[0].cell" must be "coupled", "gru", "lstm", "peephole" or "rnn", not "lsmt"; did you mean "lstm"?',
        ),
        ("units = 128", "units = 0x" + "f" * 5000, '"layers[0].units" must be an integer'),
        ("units = 128", "units = " + "9" * 5000, "too many digits"),
        ("units = 128", "units = " + "[" * 5000, "nested too deeply"),
        ('name = "text"', "", '"name" is missing'),
        ('name = "text"', 'name = "../up"', '"name" must be 1 to 64 letters, digits, - or _, not "../up"'),
        ('name = "text"', 'name = "two\\nlines"', '"name" must be'),
        ("[input]", "[input", "at line 7"),
        ("passes = 0", "passes = [", f"at line {LAST + 1}, the end of the file"),
        ("passes = 0", "passes = 0\npasses = 0", f"at line {LAST + 1}"),
        (
            "[source]",
            "[[source]]",
            '"source" must be a table whose kind is "text", "csv", "jsonl", "mqtt", "kafka", "sensors" or "none"',
        ),
        ("passes = 0", 'path = ""', '"source.path" must be a string of at least one character'),
        ("passes = 0", 'path = "a\\u0000b"', '"source.path" holds a NUL character'),
        ("[source]", '[state]\nfolder = "a\\u0000b"\n[source]', '"state.folder" holds a NUL character'),
        ('"next"', '"target"', '"predict" must be "next" with a text source'),
        ('"softmax"', '"linear"', '"readout.kind" must be "softmax" where predict = "next"'),
        ("size = 256", "size = 255", '"input" must be kind = "tokens", size = 256 to read text'),
        ("size = 256", "size = 256\nstandardize = true", '"input.standardize" needs kind = "vector"'),
        ("size = 256", 'size = 256\nmissing = "drop"', '"input.missing" must be "fill" or "refuse", not "drop"'),
        ("size = 256", 'size = 256\nmissing = "fill"', '"input.missing" cannot be "fill" without standardize = true'),
        ("size = 256", "size = 256\nmask = true", '"input.mask" needs missing = "fill"'),
        ("size = 256", 'size = 256\nchannels = ["a"]', '"input.channels" needs kind = "vector"'),
        ("size = 256", 'size = 256\nchannels = "a"', '"input.channels" must be a list in which each item is a string'),
        ("[source]", "[pipeline]\nplacement = [1, 1]\n[source]", '"pipeline.placement" places 2 stages'),
        ("[source]", "[pipeline]\nplacement = [3, 0]\n[source]", '"pipeline.placement[1]" must be an integer from 1'),
        ("[source]", "[pipeline]\nin_flight = 255\n[source]", '"pipeline.in_flight" must be at least'),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(old, new, message):
    assert message in problem(changed(old, new))


def test_a_mask_doubles_the_inputs_of_the_first_layer():
    size = 'size = 4\nstandardize = true\nmissing = "fill"'
    plain, masked = (parse(changed("size = 4", size + more, SOCKET)) for more in ("", "\nmask = true"))
    assert [config.spec()["layers"][0]["input_size"] for config in (plain, masked)] == [4, 8]
    assert [stages(config)[0].input for config in (plain, masked)] == [4, 8]
    assert [config.spec()["mask"] for config in (plain, masked)] == [False, True]


def test_next_input_prediction_needs_a_readout_of_the_inputs_size():
    vector = changed('"target"', '"next"', SOCKET)
    assert '"readout.size" must be 4' in problem(vector)
    assert parse(changed("size = 2", "size = 4", vector)).readout.size == 4
    assert '"input.size" must be an integer >= 1, not 0' in problem(changed("size = 4", "size = 0", SOCKET))


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:1", "tcp://127.8.9.1:65535", "tcp://localhost:5701", "ipc:///tmp/s", "ipc://s", "ipc://@s"],
)
def test_sockets_of_this_machine_are_accepted(endpoint):
    assert parse(changed("tcp://127.0.0.1:5701", endpoint, SOCKET)).sockets.gate == endpoint


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("tcp://0.0.0.0:5701", "is open to other machines"),
        ("tcp://*:5701", "set curve = true in [security]"),
        ("tcp://192.168.0.1:5701", "is open to other machines"),
        ("tcp://127.0.0.1.example.org:5701", "is open to other machines"),
        ("udp://127.0.0.1:5701", "ipc://PATH or tcp://HOST:PORT"),
        ("inproc://x", "ipc://PATH or tcp://HOST:PORT"),
        ("tcp://a b:5701", "ipc://PATH or tcp://HOST:PORT"),
        ("", "ipc://PATH or tcp://HOST:PORT"),
        ("tcp://127.0.0.1", "ipc://PATH or tcp://HOST:PORT"),
        ("tcp://127.0.0.1:0", "a port from 1 to 65535"),
        ("tcp://127.0.0.1:*", "a port from 1 to 65535"),
        ("tcp://127.0.0.1:65536", "a port from 1 to 65535"),
        ("ipc://", "a path after ipc://"),
        ("ipc:///" + "x" * 107, "must be shorter"),
        ("tcp://127.0.0.1:5702", "uses one address twice"),
    ],
)
def test_any_other_socket_is_refused(endpoint, message):
    refusal = problem(changed("tcp://127.0.0.1:5701", endpoint, SOCKET))
    assert message in refusal
    assert '"sockets' in refusal


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.168.0.1", "gate.example.org", "127.0.0.1"])
def test_other_machines_may_come_in_where_all_is_encrypted(host):
    text = changed("tcp://127.0.0.1:5701", f"tcp://{host}:5701", SOCKET) + "[security]\ncurve = true\n"
    config = parse(text)
    assert config.sockets.gate == f"tcp://{host}:5701"
    assert config.keys == config.folder / "keys"
    assert parse(text + 'keys = "/x/y"').keys == Path("/x/y")
    assert "a port from 1 to 65535" in problem(changed(":5701", ":0", text))


@pytest.mark.parametrize(
    ("control", "endpoint", "seen"),
    [
        ("tcp://10.0.0.7:5703", "tcp://*:5701", "tcp://10.0.0.7:5701"),
        ("tcp://box.example.org:5703", "tcp://0.0.0.0:5701", "tcp://box.example.org:5701"),
        ("tcp://10.0.0.7:5703", "tcp://10.0.0.8:5701", "tcp://10.0.0.8:5701"),
        ("tcp://10.0.0.7:5703", "ipc:///x/*", "ipc:///x/*"),
        ("ipc:///x/control", "tcp://*:5701", "tcp://127.0.0.1:5701"),
        ("tcp://*:5703", "tcp://*:5703", "tcp://127.0.0.1:5703"),
    ],
)
def test_an_address_on_every_interface_is_sought_where_control_was_reached(control, endpoint, seen):
    assert as_seen_with(control, endpoint) == seen


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "text.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert load(path) == parse(TEXT)
    path.write_bytes(b"\xef\xbb\xbf# a\n# \xe9\n")
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        load(path)


def test_channels_are_as_many_different_names_as_inputs():
    names = changed("size = 4", 'size = 4\nchannels = ["a", "b", "c", "d"]', SOCKET)
    assert parse(names).input.channels == ["a", "b", "c", "d"]
    assert '"input.channels" must be as many names as there are inputs, 4, not 3' in problem(
        changed(', "d"', "", names)
    )
    assert "\"input.channels\" must differ, and 'a' comes more than once" in problem(changed('"d"', '"a"', names))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "a"\nx = "\xe9"\n')
    cases = [(tmp_path / "none.toml", "no such file"), (tmp_path, "directory"), (latin, "line 2 is not UTF-8")]
    for path, message in cases:
        with pytest.raises(ConfigError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(ConfigError, match="null byte"):
        load("a\0b")


def test_size_0_means_as_many_as_there_are_sensors():
    text = (CONFIGS[0].parent / "sensors.toml").read_text()
    count, config = len(sensor_names()), parse(text)
    assert (config.input.size, config.readout.size) == (count, count)
    # mean, spread, ends of an interval, weights of three experts; what detectors say
    assert stages(config)[-1].output == 7 * count + FACTS + 2 * len(DETECTORS) * count
    assert config.input.channels == list(sensor_names())
    assert parse(text.replace("size = 0", f"size = {count}")).input.channels == list(sensor_names())
    own = [f"sensor {k}" for k in range(count)]
    assert parse(text.replace("size = 0", f"size = 0\nchannels = {own}", 1)).input.channels == own
    wrong = problem(text.replace("size = 0", f"size = {count + 1}"))
    assert f'"input.size" must be {count}, this machine\'s number of sensors' in wrong


def test_a_source_on_the_command_line_is_read_once():
    assert parse(TEXT, source="a.txt").source == TextConfig(path="a.txt", passes=1)
    paced = changed("passes = 0", "passes = 0\nrate = 50.0")
    assert parse(paced, source="-").source == TextConfig(path="-", passes=1, rate=50.0)
    assert '"predict" must be "next"' in problem(SOCKET, source="a.txt")
    sensors = (CONFIGS[0].parent / "sensors.toml").read_text()
    assert '"input" must be kind = "tokens", size = 256' in problem(sensors, source="a.txt")


def test_parameters_are_counted_from_the_shapes():
    config = parse(TEXT)
    # 4 gates of 128 units over 256 inputs, 128 hidden values and a bias; the same over 128; 128 to 256 and a bias.
    assert [stage.parameters for stage in stages(config)] == [197_120, 131_584, 33_024]
    assert network_line(config) == "256 tokens → LSTM 128 → LSTM 128 → softmax 256, 361,728 parameters"
    spread = changed("placement = [2]", "", SOCKET)
    layers = '[[layers]]\ncell = "gru"\nunits = 3\noutput = 5\n[[layers]]\ncell = "rnn"\nunits = 7\n[[layers]]'
    counts = [(s.input, s.output, s.parameters) for s in stages(parse(changed("[[layers]]", layers, spread)))]
    assert counts[:2] == [(4, 5, 3 * 3 * (4 + 3 + 1) + 3 + 5 * (3 + 1)), (5, 7, 7 * (5 + 7 + 1))]


def test_placement_gives_each_worker_consecutive_stages():
    assert workers(parse(TEXT)) == [range(0, 1), range(1, 2), range(2, 3)]
    placed = changed("[source]", "[pipeline]\nplacement = [2, 1]\n[source]")
    assert workers(parse(placed)) == [range(0, 2), range(2, 3)]


def test_the_state_folder_follows_the_xdg_specification(monkeypatch, tmp_path):
    config = parse(TEXT)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert config.folder == Path("/somewhere/streamrnn/text")
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert config.folder == tmp_path / ".local/state/streamrnn/text"
    own = parse(changed("[source]", '[state]\nfolder = "~/mine"\n[source]'))
    assert own.folder == tmp_path / "mine"


# Whatever the file holds, it loads or is refused in one line.


def toml(value: object) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("NaN", "nan").replace("Infinity", "inf")


def document(table: dict[str, object]) -> str:
    return "\n".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(value)}" for key, value in table.items())


def places(node: object, path: tuple = ()) -> list[tuple]:
    """The path of every value in a document."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in items for place in ((*path, key), *places(value, (*path, key)))]


KNOWN = sorted({*tables(), *(name for table in tables().values() for name in table)})
KEYS = st.sampled_from(KNOWN) | st.text()
LEAVES: st.SearchStrategy[object] = (
    st.none().map(lambda _: [])
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["adam", "lstm", "tokens", "vector", "next", "target", "gaussian", "sensors", "none"])
    | st.text()
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def loads_or_explains(text: str) -> str | None:
    try:
        parse(text, "x.toml")
    except ConfigError as error:
        message = str(error)
        assert message.startswith("x.toml: ")
        assert len(message.splitlines()) == 1
        return message
    return None


@given(st.text())
def test_random_text_loads_or_is_explained(text):
    assert loads_or_explains(text) is not None  # nobody types a valid configuration by chance


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_random_toml_is_explained(table):
    assert loads_or_explains(document(table)) is not None


@settings(max_examples=200)
@given(st.data(), VALUES)
def test_a_random_value_anywhere_loads_or_is_explained_with_its_key(data, value):
    text = data.draw(st.sampled_from([TEXT, SOCKET]))
    table = tomllib.loads(text)
    *path, last = data.draw(st.sampled_from(places(table)))
    spot = table
    for key in path:
        spot = spot[key]
    spot[last] = value
    message = loads_or_explains(document(table))
    if message is not None and "not valid TOML" not in message:
        assert re.search(r'"[^"]+"', message)


@given(st.data(), st.from_regex(r"[\w-]{1,20}", fullmatch=True).filter(lambda name: name not in KNOWN))
def test_a_random_key_anywhere_is_refused_by_its_name(data, name):
    table = tomllib.loads(TEXT)
    spot = data.draw(st.sampled_from([table, *table["layers"], *(v for v in table.values() if isinstance(v, dict))]))
    spot[name] = 1
    message = problem(document(table))
    assert message.startswith("x.toml: unknown key")
    assert f'{name}"' in message


@given(st.data())
def test_random_damage_to_a_file_loads_or_is_explained(data):
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 20)))
    loads_or_explains(TEXT[:start] + data.draw(st.text(max_size=5)) + TEXT[end:])


def test_what_can_change_while_a_daemon_runs_is_taken_over_and_the_rest_is_named():
    running = parse(TEXT)
    wanted = parse(changed("window = 16", "window = 17", changed("learning_rate = 2e-3", "learning_rate = 1e-3")))
    config, kept = taken_over(running, wanted)
    assert config == msgspec.structs.replace(running, optimizer=wanted.optimizer)
    assert config.rate == 1e-3
    assert kept == ["learning.window"]
    other = msgspec.structs.replace(running, optimizer=SGD(learning_rate=0.1), name="other")
    assert taken_over(running, other) == (running, ["name", "optimizer"])
    off = taken_over(running, parse(changed("window = 16", "window = 16\nenabled = false")))
    assert (off[0].rate, off[1]) == (0.0, [])
