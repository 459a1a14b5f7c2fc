#!/bin/bash
# Builds the realistic images that tests use, from Debian's packages, and keeps them.
#
#   tests/images/build.sh DIRECTORY
#
# Makes in DIRECTORY, unless they are there already and this folder has not changed:
#   nginx.docker.tar postgres.docker.tar    as `docker save` writes them: nginx:debian, postgres:debian
#   nginx.oci.tar postgres.oci.tar          OCI layouts, layers compressed with gzip and with zstd
# Both stand on one debootstrap root and have several layers above it, with other users, set-user-id files, file
# capabilities, user attributes, deleted files and a directory that was deleted and made anew.
#
# Needs root and: debootstrap, zstd, libcap2-bin, python3. The first run takes a minute or two and downloads about 60 MB.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
for tool in debootstrap zstd setcap python3; do
    command -v $tool >/dev/null || { echo "$0: $tool is missing: apt-get install debootstrap zstd libcap2-bin python3" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "$0: must be root" >&2; exit 1; }

# Tests of several crates may want the images at once.
exec 9>"$out/.lock"
flock 9
stamp=$(cat "$here/build.sh" "$here/lib.sh" | sha256sum | cut -d' ' -f1)
[ "$(cat "$out/.stamp" 2>/dev/null)" != "$stamp" ] || exit 0
rm -f "$out/.stamp"

source "$here/lib.sh"
suite=bookworm
# The machine's own mirror, so that a company's proxy of Debian is used here too.
mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb *\(\[[^]]*\] *\)\?\([^ ]*debian\/\?\) .*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | grep -v security | head -1 || true)
work=$out/.work
cleanup() {
    # Whatever a step had mounted below, deepest first.
    awk -v work="$work" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | while read -r at; do umount "$at"; done
    rm -rf "$work"
}
trap cleanup EXIT
cleanup
mkdir -p "$work/layers" "$out/.debs"
say() { echo "tests/images: $*" >&2; }

# layer UPPER OUT.tar: an overlayfs upper directory as a layer: deletions as .wh. files.
layer() {
    python3 - "$1" <<'PYTHON'
import os, stat, sys
for directory, directories, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(directory, name)
        found = os.lstat(path)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            os.unlink(path)
            open(os.path.join(directory, ".wh." + name), "w").close()
    try:
        if os.getxattr(directory, "trusted.overlay.opaque") == b"y":
            open(os.path.join(directory, ".wh..wh..opq"), "w").close()
    except OSError:
        pass
PYTHON
    tar --sort=name --format=pax --pax-option=delete=atime,delete=ctime --numeric-owner \
        --xattrs --xattrs-include='security.capability' --xattrs-include='user.*' -C "$1" -cf "$2" .
}

# step NAME COMMAND...: runs a command on the root file system of all layers so far; its changes become a layer.
lowers='' layers=()
step() {
    local name=$1 upper=$work/layers/$1 root=$work/root
    shift
    mkdir -p "$upper" "$work/work-$name" "$root"
    mount -t overlay overlay -o "lowerdir=$lowers,upperdir=$upper,workdir=$work/work-$name" "$root"
    "$@" "$root"
    umount "$root"
    layer "$upper" "$work/layers/$name.tar"
    lowers=$upper:$lowers
    layers+=("$work/layers/$name.tar")
}

install() { # install PACKAGE... ROOT
    local root=${!#} packages=("${@:1:$#-1}")
    # No service may be started, and dpkg need not sync: the result is an archive.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    [ ! -e /etc/apt/apt.conf.d/proxy.conf ] || cp /etc/apt/apt.conf.d/proxy.conf "$root/etc/apt/apt.conf.d/90proxy"
    cp -n "$out/.debs/"*.deb "$root/var/cache/apt/archives/" 2>/dev/null || true
    mount --bind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" sh -c "apt-get -qq -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io -o APT::Sandbox::User=root \
        -o Binary::apt-get::APT::Keep-Downloaded-Packages=true install -y --no-install-recommends ${packages[*]}" >"$work/log" 2>&1 </dev/null ||
        { cat "$work/log" >&2; umount "$root/proc" "$root/dev"; exit 1; }
    umount "$root/proc" "$root/dev"
    mv -n "$root/var/cache/apt/archives/"*.deb "$out/.debs/" 2>/dev/null || true
    rm -f "$root/var/cache/apt/archives/"*.deb "$root/usr/sbin/policy-rc.d"
}

say "debootstrap $suite"
mkdir -p "$work/layers/base"
debootstrap --variant=minbase --cache-dir="$out/.debs" "$suite" "$work/layers/base" ${mirror:+"$mirror"} >"$work/log" 2>&1 ||
    { tail -20 "$work/log" >&2; exit 1; }
rm -f "$work/layers/base/var/cache/apt/archives/"*.deb
rm -rf "$work/layers/base/dev" && mkdir "$work/layers/base/dev"
layer "$work/layers/base" "$work/layers/base.tar"
base=$work/layers/base
environment='"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'

say "nginx"
lowers=$base layers=("$base.tar")
step nginx-packages install nginx-light iputils-ping
nginx_files() {
    # A capability, a set-group-id directory, an attribute and an owner of its own.
    setcap cap_net_raw+ep "$1/bin/ping"
    mkdir -p "$1/srv/www"
    echo '<h1>nginx on Debian</h1>' >"$1/srv/www/index.html"
    chroot "$1" chown -R www-data:www-data /srv/www
    chmod 2775 "$1/srv/www"
    python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.origin", b"tests/images")' "$1/srv/www/index.html"
    # Deleted and made anew: nothing of the package's shows through.
    rm -rf "$1/etc/nginx/sites-enabled"
    mkdir "$1/etc/nginx/sites-enabled"
    cat >"$1/etc/nginx/sites-enabled/site" <<'NGINX'
server {
    listen 80 default_server;
    root /srv/www;
    location = /health { return 200 "ok\n"; }
}
NGINX
    ln -sf /dev/stdout "$1/var/log/nginx/access.log"
    ln -sf /dev/stderr "$1/var/log/nginx/error.log"
}
step nginx-files nginx_files
nginx_slim() { rm -rf "$1/var/lib/apt/lists" "$1/usr/share/doc" "$1/usr/share/man"; ln "$1/srv/www/index.html" "$1/srv/www/linked.html"; }
step nginx-slim nginx_slim
nginx="$environment,\"NGINX_VERSION=debian\"],\"Cmd\":[\"nginx\",\"-g\",\"daemon off;\"],\"ExposedPorts\":{\"80/tcp\":{}},\"StopSignal\":\"SIGQUIT\""
write_image "$out/nginx.docker.tar" docker nginx:debian none "$nginx" "${layers[@]}" >&2
write_image "$out/nginx.oci.tar" oci nginx:debian gzip "$nginx" "${layers[@]}" >&2

say "PostgreSQL"
lowers=$base layers=("$base.tar")
postgres_packages() {
    install postgresql-15 "$1"
    # The just-in-time compiler, which no test uses, is half of the image.
    rm -rf "$1"/usr/lib/*/libLLVM* "$1"/usr/lib/llvm-* "$1/usr/lib/postgresql/15/lib/bitcode" "$1"/usr/lib/postgresql/15/lib/llvmjit* "$1/usr/share/locale"
}
step postgres-packages postgres_packages
postgres_files() {
    mkdir -p "$1/docker-entrypoint-initdb.d" "$1/var/lib/postgresql/data"
    chroot "$1" chown postgres:postgres /var/lib/postgresql/data
    chmod 700 "$1/var/lib/postgresql/data"
    rm -rf "$1/etc/postgresql" "$1/var/lib/postgresql/15" "$1/usr/share/doc" "$1/var/lib/apt/lists"
    cat >"$1/usr/local/bin/entrypoint" <<'SCRIPT'
#!/bin/bash
# Makes the database at the first start, then is the server. Run as the user postgres.
set -e
: "${PGDATA:=/var/lib/postgresql/data}"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username=postgres --pwfile=<(echo "${POSTGRES_PASSWORD:?is not set}") --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
exec "$@"
SCRIPT
    chmod 755 "$1/usr/local/bin/entrypoint"
}
step postgres-files postgres_files
postgres='"Env":["PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin","PGDATA=/var/lib/postgresql/data"],"Entrypoint":["entrypoint"],"Cmd":["postgres","-c","listen_addresses=*"],"User":"postgres","Volumes":{"/var/lib/postgresql/data":{}},"ExposedPorts":{"5432/tcp":{}},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD-SHELL","pg_isready"],"Interval":5000000000,"Timeout":3000000000,"Retries":5}'
write_image "$out/postgres.docker.tar" docker postgres:debian none "$postgres" "${layers[@]}" >&2
write_image "$out/postgres.oci.tar" oci postgres:debian zstd "$postgres" "${layers[@]}" >&2

echo "$stamp" >"$out/.stamp"
say "done: $(du -shc "$out"/*.tar | tail -1 | cut -f1) in $out"
