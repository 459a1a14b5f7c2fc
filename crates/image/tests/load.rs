//! Loading archives that the image builders in tests/images write.

mod support;

use std::path::Path;

use std::fs;
use std::io::Write;

use image::{Digest, Image, ImageError, ImageStore, NoProgress, Platform};
use serde_json::json;
use support::registry::{Served, gzip};
use support::tarball::{Member, archive, config, directory, docker_archive, file, symlink};
use support::{busybox, merged_tree, scratch};

#[test]
fn all_forms_and_compressions_of_one_image_give_the_same_trees() {
    let scratch = scratch();
    let mut trees = Vec::new();
    for (format, compression) in [
        ("docker", "none"),
        ("docker", "gzip"),
        ("docker", "zstd"),
        ("oci", "none"),
        ("oci", "gzip"),
        ("oci", "zstd"),
    ] {
        let archive = scratch.path().join(format!("{format}-{compression}.tar"));
        busybox(
            &archive,
            &[
                "--tag",
                "sample:1",
                "--format",
                format,
                "--compress",
                compression,
                "--layers",
                "3",
                "--file",
                "/opt/tool=/etc/hostname:4755:1000:20",
                "--env",
                "A=b c",
                "--user",
                "app",
                "--workdir",
                "/opt",
                "--expose",
                "80/tcp",
                "--volume",
                "/data",
                "--label",
                "k=v",
                "--stop-signal",
                "SIGQUIT",
                "--healthcheck",
                r#"{"Test":["CMD","true"],"Interval":1000000000,"Retries":2}"#,
            ],
        );
        let store = ImageStore::open(&scratch.path().join(format!("store-{format}-{compression}"))).unwrap();
        let images = store.load(&archive, None, &NoProgress).unwrap();
        let [image] = &images[..] else { panic!("{images:?}") };
        assert_eq!(image.references, ["sample:1"]);
        assert_eq!((image.config.user.as_str(), image.config.working_dir.as_str()), ("app", "/opt"));
        assert_eq!(image.config.env[1], "A=b c");
        assert_eq!(
            (&image.config.exposed_ports[..], &image.config.volumes[..]),
            (&["80/tcp".to_owned()][..], &["/data".to_owned()][..])
        );
        assert_eq!(image.config.stop_signal.as_deref(), Some("SIGQUIT"));
        assert_eq!(image.config.healthcheck.as_ref().unwrap().retries, 2);
        assert_eq!(image.layers.len(), 5);
        assert_eq!(store.get("sample:1").as_ref(), Some(image));
        assert_eq!(store.get(&image.image_id).as_ref(), Some(image));
        assert_eq!(store.get(&image.image_id[7..19]).as_ref(), Some(image));
        let digest = &image.manifest_digest;
        assert_eq!(store.get(&format!("sample@{digest}")).as_ref(), Some(image));
        assert_eq!(
            store.get(&format!("other@{digest}")),
            None,
            "a repository speaks for its own images only"
        );
        trees.push((image.image_id.clone(), image.size_bytes, merged_tree(&store, image)));
    }
    for other in &trees[1..] {
        assert_eq!(&trees[0], other);
    }
    let tree = trees[0].2.join("\n");
    assert!(tree.contains("opt/tool file 104755 1000:20"), "{tree}");
    assert!(tree.contains("tmp directory 41777 0:0"), "{tree}");
}

#[test]
fn a_name_given_with_the_load_replaces_the_archives() {
    let scratch = scratch();
    let archive = scratch.path().join("image.tar");
    busybox(&archive, &["--tag", "inside:1"]);
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let image = load_one(&store, &archive, Some("given"));
    assert_eq!(image.references, ["given:latest"]);
    assert_eq!(store.get("inside:1"), None);
    assert!(store.load(&archive, Some("Not A Name"), &NoProgress).is_err());
    let again = load_one(&store, &archive, None);
    assert_eq!(again.references, ["given:latest", "inside:1"]);
    assert_eq!(store.list(), [again]);
}

fn load_one(store: &ImageStore, archive: &Path, tag: Option<&str>) -> Image {
    let mut images = store.load(archive, tag, &NoProgress).unwrap();
    assert_eq!(images.len(), 1);
    images.remove(0)
}

/// A blob of an OCI layout.
fn blob(bytes: &[u8]) -> Member {
    file(format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": format!("application/vnd.oci.image.{media_type}.v1+json"), "digest": Digest::of(bytes), "size": bytes.len() })
}

/// An image's documents and layers as members of an OCI layout.
fn layout_members(served: &Served) -> Vec<Member> {
    let mut members = vec![
        file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        blob(&served.manifest),
        blob(&served.config),
    ];
    members.extend(served.layers.iter().map(|layer| blob(layer)));
    members
}

fn load_bytes(bytes: &[u8]) -> Result<Vec<Image>, ImageError> {
    let scratch = scratch();
    let path = scratch.path().join("image.tar");
    fs::write(&path, bytes).unwrap();
    ImageStore::open(&scratch.path().join("store")).unwrap().load(&path, None, &NoProgress)
}

#[test]
fn docker_save_since_version_25_is_a_layout_with_names_in_annotations() {
    let served = Served::new(&[archive(&[file("a", "x")])]);
    let named = |name: &str| {
        let mut entry = descriptor("manifest", &served.manifest);
        entry["annotations"] =
            json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" });
        entry
    };
    let mut provenance = descriptor("manifest", b"not even there");
    provenance["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let index = json!({ "schemaVersion": 2, "manifests": [named("docker.io/library/a:1"), named("example.com/b:2"), provenance] });
    let mut members = layout_members(&served);
    members.extend([directory("blobs"), file("index.json", index.to_string())]);
    let images = load_bytes(&archive(&members)).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].references, ["a:1", "example.com/b:2"]);
    // The digest is the one that a registry gives.
    assert_eq!(images[0].manifest_digest, served.digest().to_string());

    // A tag alone is no name; docker's own list has the names then.
    let mut entry = descriptor("manifest", &served.manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    let config_path = format!("blobs/sha256/{}", Digest::of(&served.config).hex());
    let list = json!([{ "Config": config_path, "RepoTags": ["listed:1"], "Layers": [] }]).to_string();
    members.pop();
    members.push(file("index.json", index));
    let unnamed = load_bytes(&archive(&members)).unwrap();
    assert_eq!(unnamed[0].references, Vec::<String>::new());
    members.push(file("manifest.json", list));
    assert_eq!(load_bytes(&archive(&members)).unwrap()[0].references, ["listed:1"]);
}

#[test]
fn a_layout_of_several_platforms_gives_this_machines() {
    let served = Served::new(&[archive(&[file("a", "x")])]);
    let entry = |architecture: &str| {
        let mut entry = descriptor("manifest", &served.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let load_index = |entries: Vec<serde_json::Value>| {
        let inner = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
        let mut top = descriptor("index", inner.as_bytes());
        top["annotations"] = json!({ "org.opencontainers.image.ref.name": "x:1" });
        let mut members = layout_members(&served);
        members.extend([
            blob(inner.as_bytes()),
            file("index.json", json!({ "schemaVersion": 2, "manifests": [top] }).to_string()),
        ]);
        load_bytes(&archive(&members))
    };
    let images = load_index(vec![entry("s390x"), entry(&Platform::host().architecture)]).unwrap();
    assert_eq!(images[0].references, ["x:1"]);
    assert!(matches!(load_index(vec![entry("s390x")]), Err(ImageError::NoMatchingPlatform { .. })));
}

#[test]
fn docker_save_of_old_with_links_between_layers() {
    let layer = archive(&[file("a", "x")]);
    let config = config(&[layer.clone(), layer.clone()]);
    let manifest = json!([{ "Config": format!("{}.json", Digest::of(&config).hex()), "RepoTags": ["old:1"], "Layers": ["1/layer.tar", "2/layer.tar"] }]);
    // Links come before what they mean, and manifest.json at the end.
    let members = [
        directory("2/"),
        symlink("2/layer.tar", "../1/layer.tar"),
        file("1/layer.tar", &layer),
        file(format!("{}.json", Digest::of(&config).hex()), &config),
        file("manifest.json", manifest.to_string()),
    ];
    let images = load_bytes(&archive(&members)).unwrap();
    assert_eq!((images[0].layers.len(), images[0].image_id.clone()), (2, Digest::of(&config).to_string()));
    // A configuration that is not what its name says.
    let wrong =
        [file(format!("{}.json", Digest::of(b"x").hex()), &config), members[1].clone(), members[2].clone()];
    let manifest = manifest.to_string().replace(&Digest::of(&config).hex(), &Digest::of(b"x").hex());
    let wrong = [&wrong[..], &[file("manifest.json", manifest)]].concat();
    assert!(matches!(load_bytes(&archive(&wrong)), Err(ImageError::DigestMismatch { .. })));
}

#[test]
fn archives_that_are_none_or_lie_are_refused() {
    let layer = archive(&[file("a", "x")]);
    let good = docker_archive("a:1", std::slice::from_ref(&layer));
    let list = |text: &str| archive(&[file("manifest.json", text)]);
    let served = Served::new(std::slice::from_ref(&layer));
    let layout = |change: &dyn Fn(&mut Vec<Member>, &mut serde_json::Value)| {
        let mut members = layout_members(&served);
        let mut entry = descriptor("manifest", &served.manifest);
        change(&mut members, &mut entry);
        members.push(file("index.json", json!({ "schemaVersion": 2, "manifests": [entry] }).to_string()));
        archive(&members)
    };
    for (number, bytes) in [
        b"not a tar file at all".to_vec(),
        vec![],
        good[..good.len() / 2].to_vec(),
        gzip(&good)[..200].to_vec(),
        archive(&[file("something", "else")]),
        list("[]x"),
        list(r#"{"Config":"x"}"#),
        list(r#"[{"Config":"../../etc/passwd","Layers":[]}]"#),
        list(r#"[{"Config":"/etc/passwd","Layers":[]}]"#),
        archive(&[symlink("manifest.json", "manifest.json")]),
        archive(&[symlink("manifest.json", "/etc/passwd")]),
        layout(&|_, entry| entry["size"] = 1.into()),
        layout(&|members, _| {
            members.remove(1);
        }),
        layout(&|members, _| members[3].content[20] ^= 1),
        layout(&|members, _| members[1].content.push(b' ')),
        layout(&|_, entry| entry["mediaType"] = "application/vnd.oci.image.index.v1+json".into()),
        layout(&|_, entry| entry["annotations"] = json!({ "io.containerd.image.name": "Not A Name" })),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(load_bytes(&bytes).is_err(), "archive {number} was accepted");
    }
    assert!(load_bytes(&layout(&|_, _| {})).is_ok());
    assert!(load_bytes(&good).is_ok());
}

#[test]
fn an_archive_may_come_through_a_pipe() {
    let scratch = scratch();
    let pipe = scratch.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let bytes = docker_archive("piped:1", &[archive(&[file("a", vec![7; 100_000])])]);
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || {
            fs::OpenOptions::new().write(true).open(pipe).unwrap().write_all(&bytes).unwrap();
        })
    };
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    assert_eq!(load_one(&store, &pipe, None).references, ["piped:1"]);
    writer.join().unwrap();
}
