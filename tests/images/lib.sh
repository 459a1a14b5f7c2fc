# Sourced by the scripts beside it: turns layer archives into an image archive, with tar and sha256sum only.

# write_image OUT.tar docker|oci NAME:TAG none|gzip|zstd CONFIG-MEMBERS LAYER.tar...
# CONFIG-MEMBERS are the JSON members inside the image configuration's "config" object.
write_image() {
    local out=$1 format=$2 tag=$3 compress=$4 members=$5
    shift 5
    local image architecture diff_ids='' history='' layer id
    image=$(mktemp -d)
    case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
    local docker_layers='' oci_layers='' blobs=$image/blobs/sha256 media
    [ "$format" = docker ] || mkdir -p "$blobs"
    for layer in "$@"; do
        id=$(sha256sum "$layer" | cut -d' ' -f1)
        diff_ids+=${diff_ids:+,}\"sha256:$id\"
        history+=${history:+,}'{"created":"1970-01-01T00:00:00Z","created_by":"tests/images"}'
        if [ "$format" = docker ]; then
            ln -f "$layer" "$image/$id.tar" 2>/dev/null || cp "$layer" "$image/$id.tar"
            docker_layers+=${docker_layers:+,}\"$id.tar\"
            continue
        fi
        media=application/vnd.oci.image.layer.v1.tar
        case $compress in
        none) cp "$layer" "$image/blob" ;;
        gzip) gzip -n -1 -c "$layer" >"$image/blob"; media+=+gzip ;;
        zstd) zstd -q -f "$layer" -o "$image/blob"; media+=+zstd ;;
        esac
        oci_layers+=${oci_layers:+,}$(descriptor "$media" "$image/blob")
        store_blob "$image/blob"
    done
    printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]},"history":[%s]}' \
        "$architecture" "$members" "$diff_ids" "$history" >"$image/config"
    id=$(sha256sum "$image/config" | cut -d' ' -f1)
    if [ "$format" = docker ]; then
        mv "$image/config" "$image/$id.json"
        printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}]' "$id" "$tag" "$docker_layers" >"$image/manifest.json"
    else
        local config_descriptor
        config_descriptor=$(descriptor application/vnd.oci.image.config.v1+json "$image/config")
        store_blob "$image/config"
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' \
            "$config_descriptor" "$oci_layers" >"$image/manifest"
        local manifest_descriptor
        manifest_descriptor=$(descriptor application/vnd.oci.image.manifest.v1+json "$image/manifest")
        store_blob "$image/manifest"
        printf '{"schemaVersion":2,"manifests":[%s]}' \
            "${manifest_descriptor%\}},\"annotations\":{\"org.opencontainers.image.ref.name\":\"$tag\"}}" >"$image/index.json"
        printf '{"imageLayoutVersion":"1.0.0"}' >"$image/oci-layout"
    fi
    tar --sort=name --format=pax --pax-option=delete=atime,delete=ctime --mtime=@0 --owner=0 --group=0 --numeric-owner \
        -C "$image" -cf "$out.part" $(cd "$image" && ls)
    case $compress in
    none) ;;
    gzip) [ "$format" = oci ] || { gzip -n -1 -c "$out.part" >"$out.gz"; mv "$out.gz" "$out.part"; } ;;
    zstd) [ "$format" = oci ] || { zstd -q -f "$out.part" -o "$out.zst"; mv "$out.zst" "$out.part"; } ;;
    esac
    mv "$out.part" "$out"
    rm -rf "$image"
    echo "$out: $tag sha256:$id"
}

# descriptor MEDIA-TYPE FILE: an OCI descriptor as JSON.
descriptor() {
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s}' "$1" "$(sha256sum "$2" | cut -d' ' -f1)" "$(stat -c %s "$2")"
}

# store_blob FILE: moves it to its place in the layout of the caller's $blobs.
store_blob() { mv "$1" "$blobs/$(sha256sum "$1" | cut -d' ' -f1)"; }
