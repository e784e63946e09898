#!/bin/sh
# Put a program into FOLDER where none is installed: Debian's package and what it needs, unpacked. Needs no root.
#     tests/debian.sh FOLDER PACKAGE [PROGRAM]    PROGRAM: what it is called, where not as its package
set -eu
folder=$1 package=$2 program=${3:-$2}
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v "$program" > /dev/null && exit
for place in bin sbin; do test ! -x "$folder/usr/$place/$program" || exit 0; done

fail() {
    echo "the tests need $program, and it could not be fetched: install it (apt install $package)" >&2
    exit 1
}
apt() { apt-get --quiet --quiet -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@" 2> /dev/null; }
needed() { apt "$@" install --simulate --no-install-recommends "$package" | awk '/^Inst/ {print $2}'; }

echo "fetching $program, for the tests, into $folder ..."
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
for archive in *.deb; do dpkg-deb -x "$archive" . || fail; done
rm -rf lists ./*.deb ./*.bin
cd - > /dev/null && rm -rf "$folder" && mv "$folder.part" "$folder"
