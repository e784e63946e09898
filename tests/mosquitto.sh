#!/bin/sh
# Put a mosquitto into FOLDER where none is installed: Debian's package and what it needs, unpacked. Needs no root.
set -eu
folder=$1
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v mosquitto > /dev/null && exit
test -x "$folder/usr/sbin/mosquitto" && exit

fail() {
    echo "the tests need the MQTT broker mosquitto, and it could not be fetched: install it (apt install mosquitto)" >&2
    exit 1
}
apt() { apt-get --quiet --quiet -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@" 2> /dev/null; }
needed() { apt "$@" install --simulate --no-install-recommends mosquitto | awk '/^Inst/ {print $2}'; }

echo "fetching mosquitto, for the tests, into $folder ..."
{ command -v apt-get && command -v dpkg-deb; } > /dev/null || fail
rm -rf "$folder.part" && mkdir -p "$folder.part/lists/partial" && cd "$folder.part"
lists=
packages=$(needed)
if ! { test "$packages" && apt download $packages; }; then # lists of its own, where those of the system are none or old
    lists="-o Dir::State::lists=$PWD/lists -o Dir::Cache=$PWD"
    apt $lists update || fail
    packages=$(needed $lists)
    { test "$packages" && apt $lists download $packages; } || fail
fi
for package in *.deb; do dpkg-deb -x "$package" . || fail; done
rm -rf lists ./*.deb ./*.bin
cd - > /dev/null && rm -rf "$folder" && mv "$folder.part" "$folder"
