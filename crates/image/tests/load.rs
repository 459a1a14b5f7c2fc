//! Loading archives that the image builders in tests/images write.

mod support;

use std::path::Path;

use image::{Image, ImageStore, NoProgress};
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
