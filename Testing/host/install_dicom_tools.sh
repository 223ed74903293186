#!/usr/bin/env bash
# Unpacks Debian's dciodvfy (dicom3tools), storescp and findscu (dcmtk) and Orthanc into a cache folder, without
# installing anything, and prints that folder. Never fails: without them the tests that need them skip and say so.
set -u
place=${VIRTUAL_CONTRAST_DICOM_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/virtual-contrast/dicom-tools}
packages="dicom3tools dcmtk libdcmtk17 orthanc libcivetweb1 libboost-thread1.74.0 libboost-locale1.74.0
libboost-filesystem1.74.0 libboost-iostreams1.74.0 libboost-regex1.74.0 liblua5.3-0 libpugixml1v5 libwrap0
libjsoncpp25 libuuid1 libcurl4 libsqlite3-0 libpng16-16 libjpeg62-turbo libxml2 libtiff6 libicu72 libsnappy1v5
libcharls2 libopenjp2-7"
echo "$place"
[ -e "$place/done" ] && exit 0
command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 0
mkdir -p "$place/debs/partial" "$place/lists/partial" || exit 0
# Lists of its own: an ordinary user may not write those of the system.
options="-o Dir::State::Lists=$place/lists -o Dir::Cache::Archives=$place/debs"
apt-get -q $options update >/dev/null 2>&1 || exit 0
(cd "$place/debs" && for package in $packages; do apt-get -q $options download "$package" >/dev/null 2>&1; done)
for deb in "$place"/debs/*.deb; do
    [ -e "$deb" ] && dpkg -x "$deb" "$place/root"
done
[ -x "$place/root/usr/bin/dciodvfy" ] && rm -rf "$place/debs" "$place/lists" && touch "$place/done"
exit 0
