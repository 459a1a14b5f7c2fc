#!/usr/bin/env bash
# Installs what packages.txt lists for the given groups and this machine lacks. Usage: scripts/packages.sh build demo …
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
for group in "$@"; do
  while read -r name; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
  done < <(awk -v group="$group" '$1 == group { print $2 }' packages.txt)
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o Acquire::Retries=3 update
apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
