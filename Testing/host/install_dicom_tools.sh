#!/usr/bin/env bash
# Unpacks the Debian packages of DICOM tools and servers that the tests use into a cache folder: no root rights, nothing
# of the system is changed. Never fails: without them the tests skip and say this command.
set -u
packages="dcmtk dicom3tools orthanc orthanc-dicomweb"
place="${XDG_CACHE_HOME:-$HOME/.cache}/virtual-contrast/dicom-tools"
[ -e "$place/.complete" ] && exit 0
give_up() { echo "$1; the tests of DICOM servers and dciodvfy will skip."; exit 0; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "DICOM tools come from Debian's packages, and this is no Debian"
as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
apt-cache show $packages >/dev/null 2>&1 || $as_root apt-get -q update >/dev/null 2>&1
missing=$(apt-get install -s --no-install-recommends $packages 2>/dev/null | awk '/^Inst/ {print $2}')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Unpacking DICOM tools for the tests into $place"
mkdir -p "$work/root"
for package in $packages $missing; do echo "$package"; done | sort -u >"$work/names"
(cd "$work" && xargs apt-get -q -o APT::Sandbox::User=root download <names) >/dev/null 2>&1 ||
    give_up "Debian's packages $packages cannot be downloaded"
for file in "$work"/*.deb; do dpkg-deb -x "$file" "$work/root" || give_up "$(basename "$file") cannot be unpacked"; done
touch "$work/root/.complete"
mkdir -p "$(dirname "$place")"
rm -rf "$place"
mv "$work/root" "$place"
