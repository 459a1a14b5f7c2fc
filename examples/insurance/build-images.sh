#!/usr/bin/env bash
# Builds the two images of this example as archives in the form of `docker save`: insurance-frontend:latest and
# insurance-backend:latest, each busybox, the program, and the C library it is linked with. No docker, no registry.
#
#   examples/insurance/build-images.sh DIRECTORY      writes frontend.tar and backend.tar
#
# PROGRAMS=DIRECTORY says where insurance-frontend and insurance-backend are, built already.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$(cd "$1" && pwd)
if [ -z "${PROGRAMS:-}" ]; then
    (cd "$root" && cargo build --release -p insurance)
    PROGRAMS=$root/target/release
fi

for part in frontend backend; do
    program=$PROGRAMS/insurance-$part
    files=(--file "/bin/insurance-$part=$program")
    # The dynamic loader and the libraries, where the loader looks for them.
    while read -r library; do
        files+=(--file "$library=$(readlink -f "$library")")
    done < <(ldd "$program" | grep -o '/[^ ]*')
    "$root/tests/images/busybox.sh" "$out/$part.tar" --tag "insurance-$part:latest" \
        --entrypoint "[\"/bin/insurance-$part\"]" --cmd null --user nobody --expose 8080/tcp "${files[@]}"
done
