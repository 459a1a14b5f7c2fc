//! Hostile and odd layers (attacks A09): each is confined to the layer's directory or refused.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use image::{Image, ImageError, ImageStore, Limits, NoProgress};
use support::tarball::{Member, archive, directory, docker_archive, file, hardlink, member, symlink};
use support::{Overlay, attributes, describe, scratch, tree};
use tempfile::TempDir;

/// A store whose surroundings are watched: whatever a layer does, only the store may change.
struct Bench {
    scratch: TempDir,
    store: ImageStore,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let scratch = scratch();
        fs::write(scratch.path().join("victim"), "untouched").unwrap();
        fs::create_dir(scratch.path().join("outside")).unwrap();
        let store = ImageStore::open_with(&scratch.path().join("store"), limits).unwrap();
        Self { scratch, store }
    }

    fn load(&self, layers: &[Vec<u8>]) -> Result<Image, ImageError> {
        let path = self.scratch.path().join("image.tar");
        fs::write(&path, docker_archive("hostile:1", layers)).unwrap();
        let result = self.store.load(&path, None, &NoProgress);
        fs::remove_file(&path).unwrap();
        self.assert_untouched();
        if result.is_err() {
            let layers = fs::read_dir(self.store.root().join("layers")).unwrap().count();
            assert_eq!(layers, 0, "a refused image left a layer");
        }
        result.map(|mut images| images.remove(0))
    }

    /// The load succeeds; the topmost layer's directory.
    fn layer(&self, members: &[Member]) -> PathBuf {
        let image = self.load(&[archive(members)]).unwrap();
        self.store.lower_directories(&image).unwrap().remove(0)
    }

    fn refused(&self, members: &[Member]) -> String {
        self.load(&[archive(members)]).expect_err("the layer should have been refused").to_string()
    }

    fn assert_untouched(&self) {
        assert_eq!(fs::read_to_string(self.scratch.path().join("victim")).unwrap(), "untouched");
        assert_eq!(fs::metadata(self.scratch.path().join("victim")).unwrap().nlink(), 1);
        assert_eq!(fs::read_dir(self.scratch.path().join("outside")).unwrap().count(), 0);
        let mut names: Vec<_> =
            fs::read_dir(self.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "image.tar");
        names.sort();
        assert_eq!(names, ["outside", "store", "victim"]);
        assert!(!Path::new("/roadstead-escaped").exists());
    }

    /// From the layer's directory to the watched one: layers/<id>/diff or tmp/<n>/layer-<n>/diff.
    fn up(rest: &str) -> String {
        format!("../../../../../{rest}")
    }
}

#[test]
fn a09_paths_that_lead_out_are_refused() {
    let bench = Bench::new();
    for path in ["../escaped", "a/../../escaped", "..", "/../escaped", "./../x", &Bench::up("victim")] {
        for make in
            [file(path, "x"), directory(path), symlink(path, "x"), hardlink("ok", path), member(path, b'6')]
        {
            let error = bench.refused(&[file("ok2", ""), make]);
            assert!(error.contains("leads out") || error.contains("root"), "{path}: {error}");
        }
    }
}

#[test]
fn a09_absolute_paths_and_dots_within_stay_inside() {
    let bench = Bench::new();
    let top = bench.layer(&[file("/roadstead-escaped", "x"), file("a/b/../c", "y"), file("//d//./e", "z")]);
    assert_eq!(fs::read(top.join("roadstead-escaped")).unwrap(), b"x");
    assert_eq!(fs::read(top.join("a/c")).unwrap(), b"y");
    assert_eq!(fs::read(top.join("d/e")).unwrap(), b"z");
}

#[test]
fn a09_symbolic_links_are_never_followed_out() {
    let bench = Bench::new();
    let absolute = bench.scratch.path().join("outside").display().to_string();
    for target in [absolute.as_str(), &Bench::up("outside"), "/proc/self/cwd", "/proc/self/root", "/"] {
        // Within the layer such a link means a path of the layer; it may be missing there.
        let layer = archive(&[
            symlink("link", target),
            file("link/inside", "x"),
            directory("link/d"),
            symlink("link/l", "x"),
        ]);
        let _ = bench.load(&[layer]);
        // The link itself is kept as it is, and replaced, not followed, by what has its name.
        let layer = archive(&[symlink("link", target), file("link", "x")]);
        let image = bench.load(&[layer]).unwrap();
        let top = bench.store.lower_directories(&image).unwrap().remove(0);
        assert!(fs::symlink_metadata(top.join("link")).unwrap().is_file());
        bench.store.remove("hostile:1").unwrap();
    }
    // Links of one layer that lead elsewhere in it are followed, as docker does.
    let top = bench.layer(&[
        directory("usr/lib"),
        symlink("lib", "/usr/lib"),
        file("lib/a", "x"),
        symlink("up", "../../usr"),
        file("up/b", "y"),
    ]);
    assert_eq!(fs::read(top.join("usr/lib/a")).unwrap(), b"x");
    assert_eq!(fs::read(top.join("usr/b")).unwrap(), b"y");
    // To another layer's content a link cannot lead at all.
    let bench = Bench::new();
    let image = bench.load(&[
        archive(&[symlink("link", "/etc"), file("etc/passwd", "below")]),
        archive(&[file("link/passwd", "above")]),
    ]);
    let lowers = bench.store.lower_directories(&image.unwrap()).unwrap();
    assert_eq!(fs::read(lowers[1].join("etc/passwd")).unwrap(), b"below");
}

#[test]
fn a09_links_in_circles_and_to_nowhere_are_refused() {
    let bench = Bench::new();
    let error = bench.refused(&[symlink("a", "b"), symlink("b", "a"), file("a/x", "")]);
    assert!(error.contains("a/x"), "{error}");
    bench.refused(&[symlink("a", "nowhere"), file("a/x", "")]);
    bench.refused(&[file("a", ""), file("a/x", "")]);
    bench.refused(&[symlink("a", "")]);
}

#[test]
fn a09_hard_links_reach_only_files_of_the_image() {
    let bench = Bench::new();
    let victim = bench.scratch.path().join("victim").display().to_string();
    assert!(bench.refused(&[hardlink("x", &victim)]).contains("neither this layer"));
    bench.refused(&[hardlink("x", "/etc/passwd")]);
    bench.refused(&[symlink("s", &victim), hardlink("x", "s/y")]);
    assert!(bench.refused(&[directory("d"), hardlink("x", "d")]).contains("directory"));
    assert!(bench.refused(&[hardlink("x", ".")]).contains("root"));
    // To a link that leads out: the link itself gets the second name, and writing to it replaces it.
    let top = bench.layer(&[
        symlink("s", &victim),
        hardlink("x", "s"),
        file("x", "mine"),
        hardlink("self", "x"),
        hardlink("self", "self"),
    ]);
    assert_eq!(fs::read(top.join("x")).unwrap(), b"mine");
    assert_eq!(fs::metadata(top.join("x")).unwrap().ino(), fs::metadata(top.join("self")).unwrap().ino());
}

#[test]
fn a_hard_link_to_a_file_below_is_copied_up_with_all_it_has() {
    let bench = Bench::new();
    let attribute = "SCHILY.xattr.user.origin";
    let below = [
        directory("bin").mode(0o711),
        file("bin/tool", "content").owner(7, 8).mode(0o4755).pax(attribute, "below"),
        file("deleted", ""),
        file("hidden/x", ""),
    ];
    let middle = [file("bin/other", ""), file(".wh.deleted", ""), file("hidden/.wh..wh..opq", "")];
    let image = bench
        .load(&[archive(&below), archive(&middle), archive(&[hardlink("usr/tool", "bin/tool")])])
        .unwrap();
    let top = bench.store.lower_directories(&image).unwrap().remove(0);
    let (one, two) =
        (fs::metadata(top.join("usr/tool")).unwrap(), fs::metadata(top.join("bin/tool")).unwrap());
    assert_eq!(one.ino(), two.ino());
    assert_eq!((one.uid(), one.gid(), one.mode(), one.mtime()), (7, 8, 0o104_755, 1_000_000_000));
    assert_eq!(attributes(&top.join("usr/tool"))["user.origin"], b"below");
    assert_eq!(fs::metadata(top.join("bin")).unwrap().mode() & 0o7777, 0o711);
    for gone in ["deleted", "hidden/x", "never", "bin"] {
        let layers = [archive(&below), archive(&middle), archive(&[hardlink("usr/tool", gone)])];
        let path = bench.scratch.path().join("image.tar");
        fs::write(&path, docker_archive("other:1", &layers)).unwrap();
        let error = bench.store.load(&path, None, &NoProgress).expect_err(gone).to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.contains("usr/tool"), "{error}");
    }
}

#[test]
fn a09_devices_and_set_user_id_are_made_where_only_root_sees_them() {
    let bench = Bench::new();
    let device = |path: &str, kind, device| Member { device, ..member(path, kind).mode(0o666).owner(3, 4) };
    let top = bench.layer(&[
        device("null", b'3', (1, 3)),
        device("disk", b'4', (254, 0)),
        member("pipe", b'6').mode(0o600),
        file("su", "x").owner(0, 0).mode(0o6755),
    ]);
    let null = fs::symlink_metadata(top.join("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o777, null.uid(), null.gid()), (0x103, 0o666, 3, 4));
    assert!(fs::symlink_metadata(top.join("disk")).unwrap().file_type().is_block_device());
    assert!(fs::symlink_metadata(top.join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(top.join("su")).unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(fs::metadata(bench.store.root()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(bench.store.root().join("layers")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a09_a_size_said_twice_is_the_pax_one() {
    let bench = Bench::new();
    // The header says 0: a naive reader takes the content for the next member, which would be a smuggled setuid file.
    let smuggled = archive(&[file("smuggled", "x").mode(0o4755)]);
    let mut honest = file("data", &smuggled).pax("size", smuggled.len().to_string());
    honest.size = Some(0);
    let top = bench.layer(&[honest, file("after", "y")]);
    assert_eq!(fs::read(top.join("data")).unwrap(), smuggled);
    assert_eq!(fs::read(top.join("after")).unwrap(), b"y");
    assert!(!top.join("smuggled").exists());
    // And the other way round: PAX says 0, so what the header counts as content are members.
    bench.store.remove("hostile:1").unwrap();
    let members = file("inner", "z").bytes();
    let mut header = file("empty", "").pax("size", "0");
    header.size = Some(members.len() as u64);
    let mut bytes = header.bytes();
    bytes.extend(members);
    bytes.resize(bytes.len() + 1024, 0);
    let image = bench.load(&[bytes]).unwrap();
    let top = bench.store.lower_directories(&image).unwrap().remove(0);
    assert_eq!(
        (fs::read(top.join("empty")).unwrap(), fs::read(top.join("inner")).unwrap()),
        (vec![], b"z".to_vec())
    );
    // A directory's size field means nothing.
    bench.store.remove("hostile:1").unwrap();
    let mut sized = directory("d");
    sized.size = Some(512);
    let top = bench.layer(&[sized, file("d/x", "")]);
    assert!(top.join("d/x").exists());
}

#[test]
fn a09_broken_archives_are_refused() {
    let bench = Bench::new();
    let good = archive(&[file("a", vec![1; 2000])]);
    let mut checksum = good.clone();
    checksum[0] ^= 1;
    let mut kind = member("odd", b'Z').bytes();
    kind.resize(kind.len() + 1024, 0);
    let mut after_zeros = vec![0; 512];
    after_zeros.extend(&good);
    let mut huge = file("a", "");
    huge.size = Some(0o77_777_777_777);
    let nul = file("x", "").pax("path", b"a\0b");
    let bad_pax = file("x", "").pax("size", "-1");
    for bytes in [
        good[..700].to_vec(),
        good[..1600].to_vec(),
        checksum,
        kind,
        after_zeros,
        huge.bytes(),
        archive(&[nul]),
        archive(&[bad_pax]),
        archive(&[file("x", "").owner(0, 0).pax("uid", "4294967295")]),
        vec![b'x'; 4096],
        b"BZh91AY&SY".to_vec(),
        b"\xfd7zXZ\0".to_vec(),
        [&[0x1f, 0x8b][..], &[7; 600]].concat(),
        [&[0x28, 0xb5, 0x2f, 0xfd][..], &[7; 600]].concat(),
    ] {
        let error = bench.load(std::slice::from_ref(&bytes)).expect_err("refused").to_string();
        assert!(!error.is_empty());
    }
    // An empty archive, with or without its end, is an empty layer.
    bench.load(&[vec![]]).unwrap();
    bench.load(&[vec![0; 1024], vec![0; 512]]).unwrap();
}

#[test]
fn a09_whiteouts_hide_what_is_below_and_nothing_else() {
    let bench = Bench::new();
    let below = [
        file("etc/a", "1"),
        file("etc/b", "2"),
        file("d/old", ""),
        file("e/old", ""),
        file("gone/x", ""),
        file("f", ""),
    ];
    let above = [
        file("etc/.wh.a", ""),
        directory("d"),
        file("d/new", ""),
        file("d/.wh..wh..opq", ""),
        // Deleted and made anew in one layer, both ways round.
        file(".wh.e", ""),
        file("e/new", ""),
        file("gone/y", ""),
        file(".wh.gone", ""),
        file(".wh.f", ""),
        file("f", "new"),
        file(".wh..wh.aufs", ""),
        directory(".wh..wh.plnk"),
    ];
    let image = bench.load(&[archive(&below), archive(&above)]).unwrap();
    let merged = Overlay::mount(&bench.store, &image);
    let seen: Vec<String> =
        tree(merged.path()).into_iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    drop(merged);
    assert_eq!(seen, ["d", "d/new", "e", "e/new", "etc", "etc/b", "f", "gone", "gone/y"]);
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."] {
        let bench = Bench::new();
        assert!(bench.refused(&[file(name, "")]).contains("whiteout"), "{name}");
    }
}

#[test]
fn a09_an_opaque_root_hides_everything_below() {
    let bench = Bench::new();
    let image = bench
        .load(&[
            archive(&[file("old", "")]),
            archive(&[file(".wh..wh..opq", ""), file("new", "")]),
            archive(&[file("top", "")]),
        ])
        .unwrap();
    assert_eq!(image.layers.len(), 3);
    assert_eq!(bench.store.lower_directories(&image).unwrap().len(), 2);
    let merged = Overlay::mount(&bench.store, &image);
    assert!(merged.path().join("new").exists() && merged.path().join("top").exists());
    assert!(!merged.path().join("old").exists());
}

#[test]
fn attributes_that_only_the_host_may_set_are_dropped() {
    let bench = Bench::new();
    // cap_net_raw+ep, revision 2.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let key = |name: &str| format!("SCHILY.xattr.{name}");
    let top = bench.layer(&[
        directory("d").pax(key("trusted.overlay.opaque"), "y").pax(key("user.overlay.opaque"), "y"),
        file("f", "x")
            .owner(5, 6)
            .mode(0o4755)
            .pax(key("security.capability"), capability)
            .pax(key("trusted.overlay.redirect"), "/etc")
            .pax(key("trusted.other"), "x")
            .pax(key("security.selinux"), "x")
            .pax(key("user.kept"), b"a\0b")
            .pax(key(""), "x"),
        symlink("s", "f").pax(key("user.impossible"), "x"),
    ]);
    assert_eq!(attributes(&top.join("d")), BTreeMap::new());
    let found = attributes(&top.join("f"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["security.capability", "user.kept"]);
    assert_eq!((&found["security.capability"][..], &found["user.kept"][..]), (&capability[..], &b"a\0b"[..]));
    assert_eq!(fs::metadata(top.join("f")).unwrap().mode() & 0o7777, 0o4755);
    bench.store.remove("hostile:1").unwrap();
    // A capability that the kernel refuses would silently be lost.
    assert!(
        bench.refused(&[file("f", "x").pax(key("security.capability"), "nonsense")]).contains("capability")
    );
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    let bench = Bench::new();
    let names = ["file", "dir", "link", "fifo"];
    let make = |name: &str, kind: &str| match kind {
        "file" => file(name, "x"),
        "dir" => directory(name),
        "link" => symlink(name, "/nowhere"),
        _ => member(name, b'6'),
    };
    let mut members = Vec::new();
    for first in names {
        for second in names {
            members.push(make(&format!("{first}-{second}"), first));
            if first == "dir" {
                members.push(file(format!("{first}-{second}/below/deep"), "x"));
            }
            members.push(make(&format!("{first}-{second}"), second).mode(0o700).owner(9, 9));
        }
    }
    let top = bench.layer(&members);
    for first in names {
        for second in names {
            let line = describe(&top.join(format!("{first}-{second}")), Path::new("x"));
            let kind = match second {
                "dir" => "directory",
                other => other,
            };
            assert!(
                line.starts_with(&format!("x {kind} ")) && line.contains(" 9:9 "),
                "{first} {second}: {line}"
            );
        }
    }
    // Two directory entries are one directory, whose content stays.
    assert!(top.join("dir-dir/below/deep").exists());
}

#[test]
fn names_are_bytes() {
    let bench = Bench::new();
    use std::os::unix::ffi::OsStrExt;
    let odd: &[u8] = b"d/\xff\xfe \n\x01\"";
    let long = vec![b'n'; 255];
    let top =
        bench.layer(&[file(odd, "x"), file([b"d/", &long[..]].concat(), "y"), file("d/\u{202e}gpj", "z")]);
    assert_eq!(fs::read(top.join(std::ffi::OsStr::from_bytes(odd))).unwrap(), b"x");
    assert_eq!(fs::read_dir(top.join("d")).unwrap().count(), 3);
    bench.store.remove("hostile:1").unwrap();
    bench.refused(&[file([&b"d/"[..], &[b'n'; 256]].concat(), "y")]);
}

#[test]
fn a09_limits_on_entries_paths_and_sizes() {
    let small = Limits {
        layer_entries: 100,
        layer_bytes: 1 << 20,
        path_components: 20,
        path_bytes: 300,
        pax_bytes: 4096,
        remembered_path_bytes: 64 << 10,
        ..Limits::default()
    };
    let limited = |layer: Vec<u8>| match Bench::with(small.clone()).load(&[layer]) {
        Err(ImageError::Limit { what, .. }) => what.to_owned(),
        other => panic!("{other:?}"),
    };
    let many: Vec<Member> = (0..101).map(|number| file(number.to_string(), "")).collect();
    assert!(Bench::with(small.clone()).load(&[archive(&many[..100])]).is_ok());
    assert_eq!(limited(archive(&many)), "entries of a layer");
    assert_eq!(limited(archive(&[file("big", vec![1; 2 << 20])])), "bytes of a layer");
    assert_eq!(limited(archive(&[file("a/".repeat(21), "")])), "components of a path");
    assert_eq!(limited(archive(&[file(vec![b'p'; 301], "")])), "bytes of a path");
    assert_eq!(limited(archive(&[symlink("l", vec![b'p'; 301])])), "bytes of a path");
    assert_eq!(limited(archive(&[file("x", "").pax("comment", vec![b'c'; 5000])])), "bytes of a PAX header");
    // A sparse file of a terabyte costs nothing on disk, but is counted at its size.
    let mut sparse =
        file("sparse", "").pax("GNU.sparse.size", (1u64 << 40).to_string()).pax("GNU.sparse.map", "0,0");
    sparse.mode = 0o644;
    assert_eq!(limited(archive(&[sparse])), "bytes of a layer");
    // Headers of headers without end.
    let long_names: Vec<Member> = (0..500)
        .map(|_| file("x", ""))
        .map(|m| Member { kind: b'L', content: b"name".to_vec(), ..m })
        .collect();
    assert_eq!(limited(archive(&long_names)), "archive members");
    let deep: Vec<Member> =
        (0..90).map(|n| hardlink(format!("{n}/{}", "x/".repeat(10)), "y".repeat(200))).collect();
    let found =
        Bench::with(Limits { remembered_path_bytes: 10 << 10, ..small.clone() }).load(&[archive(&deep)]);
    assert!(matches!(found, Err(ImageError::Limit { .. })), "{found:?}");
}

#[test]
fn a09_a_million_entries_end_at_the_limit_in_bounded_memory() {
    // A million empty files: 512 MB of headers, streamed through gzip so that the test itself stays small.
    let one = file("some/file", "").bytes();
    let block: Vec<u8> = one.repeat(1000);
    let limits = Limits { layer_entries: 50_000, ..Limits::default() };
    let bench = Bench::with(limits);
    let layer = block.repeat(60);
    let error = bench.load(&[layer]).unwrap_err();
    assert!(matches!(error, ImageError::Limit { what: "entries of a layer", .. }), "{error}");
}

#[test]
fn implied_directories_look_as_below() {
    let bench = Bench::new();
    let below = [
        directory("./").mode(0o751).owner(1, 2),
        directory("tmp").mode(0o1777),
        directory("home").mode(0o711),
        directory("home/app").mode(0o700).owner(1000, 1000).pax("SCHILY.xattr.user.x", "y"),
    ];
    let above = [file("tmp/x", ""), file("home/app/deep/er/file", ""), file("new/y", "")];
    let image = bench.load(&[archive(&below), archive(&above)]).unwrap();
    let top = bench.store.lower_directories(&image).unwrap().remove(0);
    let mode = |path: &str| {
        let found = fs::metadata(top.join(path)).unwrap();
        (found.mode() & 0o7777, found.uid(), found.gid())
    };
    assert_eq!(mode("."), (0o751, 1, 2));
    assert_eq!(mode("tmp"), (0o1777, 0, 0));
    assert_eq!(mode("home"), (0o711, 0, 0));
    assert_eq!(mode("home/app"), (0o700, 1000, 1000));
    assert_eq!(attributes(&top.join("home/app"))["user.x"], b"y");
    assert_eq!((mode("home/app/deep/er"), mode("new")), ((0o755, 0, 0), (0o755, 0, 0)));
    assert_eq!(fs::metadata(top.join("tmp")).unwrap().mtime(), 1_000_000_000);
}

#[test]
fn more_layers_than_a_mount_option_holds() {
    let bench = Bench::new();
    let layers: Vec<Vec<u8>> =
        (0..150).map(|n| archive(&[file(format!("layer-{n}"), n.to_string())])).collect();
    let image = bench.load(&layers).unwrap();
    let lowers = bench.store.lower_directories(&image).unwrap();
    assert_eq!(lowers.len(), 150);
    assert!(lowers[0].join("layer-149").exists() && lowers[149].join("layer-0").exists());
    let too_many: Vec<Vec<u8>> = vec![archive(&[file("x", "")]); 501];
    let path = bench.scratch.path().join("image.tar");
    fs::write(&path, docker_archive("many:1", &too_many)).unwrap();
    assert!(matches!(bench.store.load(&path, None, &NoProgress), Err(ImageError::Limit { .. })));
}
