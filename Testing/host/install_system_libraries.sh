#!/usr/bin/env bash
# Installs the Debian packages that the Slicer test host and the browser tests need, where they are missing and apt may
# be used.
# Never fails: without them the tests in Testing/slicer and Testing/browser skip and say the command.
set -u
packages="libosmesa6 libgl1 libegl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 cmake chromium chromium-driver"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || exit 0
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || { echo "GUI tests will skip; to run them: sudo apt-get install$missing"; exit 0; }
    as_root="sudo -n"
fi
echo "Installing for the GUI tests:$missing"
export DEBIAN_FRONTEND=noninteractive
{ $as_root apt-get -q update && $as_root apt-get -q install -y --no-install-recommends $missing; } >/dev/null 2>&1 ||
    echo "That failed; GUI tests will skip. To run them: sudo apt-get install$missing"
exit 0
