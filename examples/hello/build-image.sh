#!/bin/sh
# Builds the example image `hello:latest` as an archive in the form of `docker save`, with nothing but
# busybox-static, tar, sha256sum and this shell: no docker, no registry.
#
#   examples/hello/build-image.sh OUT.tar
#
# The same inputs give the same bytes, so the image's digest is stable.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUT.tar" >&2; exit 2; }
out=$1
busybox=${BUSYBOX:-$(command -v busybox || true)}
[ -n "$busybox" ] || { echo "$0: no busybox: apt-get install busybox-static" >&2; exit 1; }
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# First layer: busybox and the directories that programs expect.
base=$work/base
mkdir -p "$base/bin" "$base/etc" "$base/root" "$base/var" "$base/usr" "$base/dev" "$base/proc" "$base/sys" "$base/run"
mkdir -m 1777 "$base/tmp"
cp "$busybox" "$base/bin/busybox"
chmod 755 "$base/bin/busybox"
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$base/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$base/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$base/etc/group"

# Second layer: the program. A shell as process 1 must trap SIGTERM, because the kernel ignores default
# actions for process 1; it waits in the background job's `wait`, which a trap interrupts at once.
app=$work/app
mkdir -p "$app/srv"
cat >"$app/hello" <<'SCRIPT'
#!/bin/sh
trap 'echo "hello: SIGTERM, good bye"; kill "$server" 2>/dev/null; exit 0' TERM INT
echo "hello: from a container that Roadstead runs"
echo "hello: host name $(hostname), kernel $(uname -r)"
echo "hello: ${GREETING:-set GREETING in the task definition to change this line}"
httpd -f -p "${PORT:-8080}" -h /srv &
server=$!
echo "hello: listening on port ${PORT:-8080}"
wait "$server"
SCRIPT
chmod 755 "$app/hello"
echo 'hello from Roadstead' >"$app/srv/index.html"

# layer DIRECTORY: an archive with no trace of who built it when; prints the file's sha256.
layer() {
    tar --sort=name --format=pax --pax-option=delete=atime,delete=ctime --mtime=@0 --owner=0 --group=0 \
        --numeric-owner -C "$1" -cf "$1.tar" .
    sha256sum "$1.tar" | cut -d' ' -f1
}
base_id=$(layer "$base")
app_id=$(layer "$app")

image=$work/image
mkdir "$image"
mv "$base.tar" "$image/$base_id.tar"
mv "$app.tar" "$image/$app_id.tar"
cat >"$work/config.json" <<JSON
{"architecture":"$architecture","os":"linux","created":"1970-01-01T00:00:00Z",
 "config":{"Env":["PATH=/bin"],"Entrypoint":["/hello"],"WorkingDir":"/","ExposedPorts":{"8080/tcp":{}},"Labels":{"example":"hello"}},
 "rootfs":{"type":"layers","diff_ids":["sha256:$base_id","sha256:$app_id"]},
 "history":[{"created":"1970-01-01T00:00:00Z","created_by":"busybox"},{"created":"1970-01-01T00:00:00Z","created_by":"hello"}]}
JSON
config_id=$(sha256sum "$work/config.json" | cut -d' ' -f1)
mv "$work/config.json" "$image/$config_id.json"
cat >"$image/manifest.json" <<JSON
[{"Config":"$config_id.json","RepoTags":["hello:latest"],"Layers":["$base_id.tar","$app_id.tar"]}]
JSON
tar --sort=name --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$image" -cf "$out.part" .
mv "$out.part" "$out"
echo "$out: hello:latest sha256:$config_id"
