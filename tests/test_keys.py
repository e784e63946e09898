"""Key files: made once, read only where they are nobody else's, and damaged ones found."""

import json
import os
import stat

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from zmq.utils import z85

from streamrnn.cli.main import app
from streamrnn.protocol.keys import Keys, KeysError, load
from streamrnn.storage import private


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "keys")


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_clients_file_holds_a_pair_and_the_daemons_public_key(keys, tmp_path):
    keys.new("ann", tmp_path / "ann.key")
    key, own = load(tmp_path / "ann.key"), Keys(keys.folder).own()
    assert zmq.curve_public(key.secret.encode()).decode() == key.public
    assert key.daemon == own.public != key.public
    assert zmq.curve_public(own.secret.encode()).decode() == own.public
    assert keys.clients() == {"ann": key.public}
    assert key.secret not in "".join(path.read_text() for path in keys.folder.rglob("*") if path.is_file())


def test_files_are_the_users_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        keys = Keys(tmp_path / "a" / "keys")
        keys.new("ann", tmp_path / "ann.key")
    finally:
        os.umask(before)
    folders = [path for path in (tmp_path / "a").rglob("*") if path.is_dir()]
    assert {mode(path) for path in (tmp_path / "a", *folders)} == {0o700}
    assert {mode(path) for path in (keys.path, tmp_path / "ann.key")} == {0o600}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["ann.key", "ann.pub", "daemon.key"]


def test_nothing_is_overwritten(keys, tmp_path):
    keys.new("ann", tmp_path / "ann.key")
    before = (tmp_path / "ann.key").read_bytes(), keys.clients()
    with pytest.raises(KeysError, match="ann has a key: revoke it"):
        keys.new("ann", tmp_path / "other.key")
    with pytest.raises(KeysError, match=r"ann\.key: File exists; name another file"):
        keys.new("bob", tmp_path / "ann.key")
    with pytest.raises(KeysError, match="No such file or directory; name another file"):
        keys.new("bob", tmp_path / "nowhere" / "bob.key")
    assert ((tmp_path / "ann.key").read_bytes(), keys.clients()) == before
    assert not (tmp_path / "other.key").exists()


@pytest.mark.parametrize("name", ["", ".ann", "../ann", "a/b", "a b", "ä", "a\n", "x" * 65])
def test_a_name_is_a_name(keys, tmp_path, name):
    for action in (lambda: keys.new(name, tmp_path / "out"), lambda: keys.revoke(name)):
        with pytest.raises(KeysError, match="cannot be a name"):
            action()
    assert (keys.clients(), (tmp_path / "out").exists()) == ({}, False)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o610, 0o602])
def test_a_secret_that_others_can_reach_is_refused(keys, tmp_path, bits):
    path = tmp_path / "ann.key"
    keys.new("ann", path)
    path.chmod(bits)
    with pytest.raises(KeysError, match=f"chmod 600 {path}$"):
        load(path)
    path.chmod(0o600)
    load(path)


def test_what_belongs_to_others_is_refused(keys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(KeysError, match="belongs to another user"):
        load(keys.path)
    with pytest.raises(KeysError, match="belongs to another user"):
        Keys(keys.folder)


@pytest.mark.parametrize("bits", [0o720, 0o702])
def test_a_folder_that_others_may_write_to_is_refused(keys, bits):
    for folder in (keys.folder, keys.folder / "clients"):
        folder.chmod(bits)
        with pytest.raises(KeysError, match=f"chmod 700 {folder}$"):
            Keys(keys.folder)
        folder.chmod(0o700)
    Keys(keys.folder)


def test_a_damaged_key_lets_nobody_in_and_can_be_revoked(keys, tmp_path):
    keys.new("ann", tmp_path / "ann.key")
    keys.new("bob", tmp_path / "bob.key")
    (keys.folder / "clients" / "ann.pub").write_text('{"public": ""}')
    assert keys.clients() == {"ann": "", "bob": load(tmp_path / "bob.key").public}
    keys.revoke("ann")
    assert list(keys.clients()) == ["bob"]
    with pytest.raises(KeysError, match="ann has no key that could be revoked; bob has one"):
        keys.revoke("ann")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    Keys(folder / "keys").new("ann", folder / "ann.key")
    private.write_new(folder / "tried", b"")
    return folder


def tried(place, data: bytes) -> KeysError | None:
    """What is wrong with a file of those bytes; None if it is a good key."""
    (place / "tried").write_bytes(data)
    try:
        key = load(place / "tried")
    except KeysError as error:
        return error
    assert zmq.curve_public(key.secret.encode()).decode() == key.public
    return None


@given(st.binary(max_size=200))
def test_whatever_else_is_in_a_file_is_one_clear_line(place, data):
    assert len(str(tried(place, data)).splitlines()) == 1


@given(st.sampled_from(["public", "secret", "daemon"]), st.integers(0, 40), st.text(max_size=2))
def test_a_damaged_key_is_one_clear_line(place, which, at, instead):
    good = json.loads((place / "ann.key").read_text())
    text = good[which][:at] + instead + good[which][at + 1 :]
    error = tried(place, json.dumps(good | {which: text}).encode())
    assert len(str(error).splitlines()) == 1
    assert error or len(text) == 40
    assert error or which != "daemon" or len(z85.decode(text)) == 32
    assert error or which != "public" or text == good["public"]


def test_a_daemon_s_key_that_is_none_is_one_clear_line(place):
    good = json.loads((place / "ann.key").read_text())
    assert "its daemon's key is none" in str(tried(place, json.dumps(good | {"daemon": "#" * 40}).encode()))


def test_the_commands_make_list_and_revoke(tmp_path):
    config = tmp_path / "x.toml"
    config.write_text(
        'name = "x"\n[input]\nkind = "tokens"\nsize = 4\n[[layers]]\ncell = "rnn"\nunits = 2\n'
        '[readout]\nkind = "softmax"\nsize = 4\n[optimizer]\nkind = "sgd"\nlearning_rate = 0.1\n'
        f'[state]\nfolder = "{tmp_path}/state"\n'
    )

    def do(command: str, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["keys", command, str(config), *words])
        assert done.exit_code == code, done.output
        return done.output

    assert f"{tmp_path}/ann.key is for ann alone" in do("new", "ann", "--out", f"{tmp_path}/ann.key")
    listed = json.loads(do("list", "--json"))
    assert (listed["name"], listed["public"]) == ("ann", load(tmp_path / "ann.key").public)
    assert "ann" in do("list")
    assert do("revoke", "ann") == "ann is let in no more\n"
    assert do("list", "--json") == ""
    do("revoke", "ann", code=1)
    do("new", "../ann", "--out", f"{tmp_path}/b.key", code=1)
