#!/bin/sh
# Proves the engine on cgroup v2: boots a Debian kernel under qemu's software emulation with the engine's own tests inside, and
# cgroup v2 as the only hierarchy. Needs qemu-system-x86, busybox-static and cpio; fetches the
# kernel. Prints
# "CGROUP-V2: N passed" and ends with 0 if all is well.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
limit_seconds=${CGROUP_V2_TIMEOUT:-300}

skip() {
    echo "SKIPPED cgroup-v2: $1"
    # In CI a skipped proof is a failed one.
    [ -z "${CI:-}" ] || exit 1
    exit 0
}

command -v qemu-system-x86_64 >/dev/null || skip "qemu-system-x86_64 is missing (apt-get install qemu-system-x86)"
command -v cpio >/dev/null || skip "cpio is missing (apt-get install cpio)"
[ -x /bin/busybox ] || skip "/bin/busybox is missing (apt-get install busybox-static)"

# A kernel package is fetched and unpacked beside the build, not installed: this machine's own boot is none of our business.
cache=$here/../../target/test-kernel
if ! ls "$cache"/boot/vmlinuz-*-cloud-amd64 >/dev/null 2>&1; then
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$package" ] || skip "no kernel to boot (apt-get update, then apt-cache show linux-image-cloud-amd64)"
    mkdir -p "$cache"
    (cd "$cache" && apt-get -qq download "$package" && dpkg -x "$package"_*.deb . && rm -f "$package"_*.deb) || skip "the kernel cannot be fetched"
fi
kernel=$(ls "$cache"/boot/vmlinuz-*-cloud-amd64 | sort -V | tail -n 1)
version=${kernel##*/vmlinuz-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
mkdir -p "$root/bin" "$root/tests"

# The test programs, and the helper at the path that was compiled into them.
cargo test -q -p engine --no-run --message-format=json \
    | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' > "$work/executables"
for name in lifecycle parameters protections; do
    program=$(grep "/deps/$name-" "$work/executables" | tail -n 1)
    strip -o "$root/tests/$name" "$program"
done
helper=$(grep '/engine-test-helper$' "$work/executables" | tail -n 1)
mkdir -p "$root$(dirname "$helper")" "$root$(dirname "$(dirname "$helper")")/tmp"
strip -o "$root$helper" "$helper"

cp /bin/busybox "$root/bin/busybox"
for library in $(ldd "$root/tests/lifecycle" "$root$helper" | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
# Modules of Debian's kernel that are not built in.
for module in overlay; do
    file=$(find "$cache/lib/modules/$version" -name "$module.ko*" | head -n 1)
    case $file in
        *.xz) xz -dc "$file" > "$root/$module.ko" ;;
        *.zst) zstd -qdc "$file" > "$root/$module.ko" ;;
        ?*) cp "$file" "$root/$module.ko" ;;
    esac
done
cp "$here/init" "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) | gzip -1 > "$work/initramfs"

# The guest powers itself off; the limit is for one that hangs.
timeout "$limit_seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 \
    -nodefaults -no-reboot -display none -serial stdio -kernel "$kernel" -initrd "$work/initramfs" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on cgroup_no_v1=all" </dev/null \
    | tr -d '\r' | tee "$work/output" | grep -E -v '^\[ ' || true
if grep -q '^CGROUP-V2: [1-9][0-9]* passed$' "$work/output"; then
    exit 0
fi
echo "cgroup-v2: the guest did not report success within ${limit_seconds} s" >&2
exit 1
