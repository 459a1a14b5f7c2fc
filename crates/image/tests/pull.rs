//! Pulling from registries, honest and hostile (faults F21, attacks A10).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::{
    Digest, ImageError, ImageStore, Limits, NoProgress, Platform, Progress, PullError, PullErrorKind,
    Reference, RegistryAuth,
};
use support::pulling::{Bench, failing, honest, kind, layer_path, limits, names, sample};
use support::registry::{Asked, Served, Server, gzip, reply};
use support::tarball::{archive, config_of, directory, file};
use support::{merged_tree, scratch};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_once_and_named_by_tag_and_digest() {
    let (bench, served) = (Bench::new(), sample());
    let server = honest(&served).await;
    let image = bench.pull(&server).await.unwrap();
    assert_eq!(image.manifest_digest, served.digest().to_string());
    assert_eq!(image.image_id, Digest::of(&served.config).to_string());
    let name = format!("{}/team/app", server.address);
    assert_eq!(image.references, [format!("{name}:1"), format!("{name}@{}", served.digest())]);
    for reference in &image.references {
        assert_eq!(bench.store.get(reference).as_ref(), Some(&image));
    }
    let tree = merged_tree(&bench.store, &image).join("\n");
    assert!(tree.contains("tmp/noise file 104755 1000:20 1280000"), "{tree}");
    // The second layer implies /tmp and does not take its sticky bit away; it deletes os-release.
    assert!(tree.contains("tmp directory 41777 0:0"), "{tree}");
    assert!(!tree.contains("os-release"), "{tree}");

    assert_eq!(bench.pull(&server).await.unwrap(), image);
    for index in 0..2 {
        assert_eq!(server.count(&layer_path(&served, index)), 1, "the layer was fetched again");
    }
    let pinned = Reference::parse(&format!("{name}@{}", served.digest())).unwrap();
    let again =
        bench.store.pull(&pinned, &RegistryAuth::Anonymous, &Platform::host(), &NoProgress).await.unwrap();
    assert_eq!(again, image);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_side_by_side_fetch_each_layer_once() {
    let (bench, served) = (Bench::new(), sample());
    let server = honest(&served).await;
    let reference = Reference::parse(&format!("{}/team/app:1", server.address)).unwrap();
    let pulls: Vec<_> = (0..8)
        .map(|_| {
            let (store, reference) = (bench.store.clone(), reference.clone());
            // Spawned, so it must be Send.
            tokio::spawn(async move {
                store
                    .pull(&reference, &RegistryAuth::Anonymous, &Platform::host(), &NoProgress)
                    .await
                    .unwrap()
            })
        })
        .collect();
    for pull in pulls {
        pull.await.unwrap();
    }
    for index in 0..2 {
        assert_eq!(server.count(&layer_path(&served, index)), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_a_running_pull_counts_on_are_not_collected() {
    let (bench, served) = (Bench::new(), sample());
    let base = Served::new(&[archive(&[
        directory("./"),
        directory("tmp").mode(0o1777),
        file("etc/os-release", "x"),
    ])]);
    assert_eq!(base.layers[0], served.layers[0]);
    bench.pull(&honest(&base).await).await.unwrap();
    let path = layer_path(&served, 1);
    let server = {
        let path = path.clone();
        failing(
            &served,
            1,
            move |asked| asked.path.contains(&path),
            |_, mut good| {
                good.trickle = Some((64 << 10, Duration::from_millis(30)));
                good
            },
        )
        .await
    };
    let collect = async {
        while server.count(&path) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let id = bench.store.list()[0].image_id.clone();
        assert_eq!(bench.store.remove(&id).unwrap().deleted, [id]);
        bench.store.collect_garbage().unwrap();
    };
    let (image, ()) = tokio::join!(bench.pull(&server), collect);
    let image = image.unwrap();
    assert_eq!(server.count(&layer_path(&served, 0)), 0, "the base was there already");
    assert_eq!(bench.store.lower_directories(&image).unwrap().len(), 2);
    assert!(!merged_tree(&bench.store, &image).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_wrong_content_is_refused_and_the_next_pull_is_clean() {
    let served = sample();
    let other = gzip(&archive(&[file("evil", "evil")]));
    let path = layer_path(&served, 1);
    // Another byte in gzip's header: it unpacks to the same archive, and is not what the manifest names.
    let same_archive = {
        let mut bytes = served.layers[1].clone();
        bytes[9] ^= 1;
        bytes
    };
    let same_length = {
        let mut bytes = served.layers[1].clone();
        let last = bytes.len() - 9;
        bytes[last / 2] ^= 1;
        bytes
    };
    for (bad, expected) in [
        (other, vec![PullErrorKind::DigestMismatch, PullErrorKind::Unreachable]),
        (same_archive, vec![PullErrorKind::DigestMismatch]),
        // One bit: gzip's own checksum or ours.
        (same_length, vec![PullErrorKind::DigestMismatch, PullErrorKind::Layer]),
    ] {
        let fits = path.clone();
        let server =
            failing(&served, 3, move |asked| asked.path.contains(&fits), move |_, _| reply(200, &bad)).await;
        let bench = Bench::new();
        let found = kind(bench.pull(&server).await);
        assert!(expected.contains(&found), "{found:?}");
        bench.assert_empty();
        // The bad answers run out at the third try, whichever pull that is in.
        let mut image = None;
        for _ in 0..3 {
            image = image.or(bench.pull(&server).await.ok());
        }
        let image = image.expect("the honest answer is accepted");
        assert!(merged_tree(&bench.store, &image).iter().any(|line| line.starts_with("tmp/noise")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_layer_longer_than_announced_is_refused() {
    let served = sample();
    let path = layer_path(&served, 1);
    let server = failing(
        &served,
        usize::MAX,
        move |asked| asked.path.contains(&path),
        |_, mut good| {
            good.body.extend([0; 1000]);
            good
        },
    )
    .await;
    let bench = Bench::new();
    assert_eq!(kind(bench.pull(&server).await), PullErrorKind::DigestMismatch);
    bench.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_truncated_layer_is_resumed_where_it_broke() {
    let served = sample();
    for honours_ranges in [true, false] {
        let path = layer_path(&served, 1);
        let fits = path.clone();
        let server = failing(
            &served,
            1,
            move |asked| asked.path.contains(&fits),
            |_, mut good| {
                good.length = Some(good.body.len() as u64);
                good.body.truncate(good.body.len() / 2);
                good
            },
        )
        .await;
        let server = if honours_ranges {
            server
        } else {
            let (served, fits, first) = (served.clone(), path.clone(), AtomicUsize::new(0));
            Server::start("127.0.0.1", move |asked| {
                let plain = Asked { headers: std::collections::HashMap::new(), ..asked.clone() };
                let mut good = served.answer(&plain);
                if asked.path.contains(&fits) && first.fetch_add(1, Ordering::SeqCst) == 0 {
                    good.length = Some(good.body.len() as u64);
                    good.body.truncate(good.body.len() / 2);
                }
                good
            })
            .await
        };
        let bench = Bench::new();
        bench.pull(&server).await.unwrap();
        let asked: Vec<Asked> =
            server.asked().into_iter().filter(|asked| asked.path.contains(&path)).collect();
        assert_eq!(asked.len(), 2);
        let half = served.layers[1].len() / 2;
        assert_eq!(asked[1].header("range"), Some(&*format!("bytes={half}-")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_layer_that_never_ends_well_fails_after_bounded_tries() {
    let served = sample();
    let path = layer_path(&served, 1);
    let fits = path.clone();
    let server = failing(
        &served,
        usize::MAX,
        move |asked| asked.path.contains(&fits),
        |_, mut good| {
            good.length = Some(good.body.len() as u64);
            good.body.truncate(100);
            good
        },
    )
    .await;
    let bench = Bench::new();
    assert_eq!(kind(bench.pull(&server).await), PullErrorKind::Unreachable);
    assert_eq!(server.count(&path), 3);
    bench.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_busy_registries_are_tried_again_and_given_up() {
    let served = sample();
    for (status, final_kind) in [
        (429, PullErrorKind::TooManyRequests),
        (500, PullErrorKind::Registry),
        (503, PullErrorKind::Registry),
    ] {
        for part in ["/manifests/", "/blobs/"] {
            let server = failing(
                &served,
                2,
                move |asked| asked.path.contains(part),
                move |_, _| {
                    reply(status, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u0007 down"}]}"#)
                        .header("retry-after", "0")
                },
            )
            .await;
            Bench::new().pull(&server).await.unwrap();
            let always = failing(
                &served,
                usize::MAX,
                move |asked| asked.path.contains(part),
                move |_, _| {
                    reply(status, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u0007 down"}]}"#)
                },
            )
            .await;
            let bench = Bench::new();
            let error = bench.pull(&always).await.unwrap_err();
            assert_eq!(error.kind(), final_kind);
            assert!(error.to_string().contains("slow  down"), "{error}");
            bench.assert_empty();
            assert_eq!(always.count("/manifests/"), if part == "/manifests/" { 3 } else { 1 });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_an_absurd_retry_after_is_cut() {
    let served = sample();
    let server = failing(
        &served,
        2,
        |asked| asked.path.contains("/manifests/"),
        |_, _| reply(429, "").header("retry-after", "4000000000"),
    )
    .await;
    let start = Instant::now();
    Bench::new().pull(&server).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_slow_registries_time_out() {
    let served = sample();
    let silent = failing(
        &served,
        usize::MAX,
        |_| true,
        |_, mut good| {
            good.silent = true;
            good
        },
    )
    .await;
    assert_eq!(kind(Bench::new().pull(&silent).await), PullErrorKind::Timeout);
    // 100 bytes every 50 ms: always something, never enough.
    let trickling = failing(
        &served,
        usize::MAX,
        |asked| asked.path.contains("/blobs/"),
        |_, mut good| {
            good.trickle = Some((20, Duration::from_millis(50)));
            good
        },
    )
    .await;
    let bench = Bench::new();
    let start = Instant::now();
    assert_eq!(kind(bench.pull(&trickling).await), PullErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(20));
    bench.assert_empty();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Reference::parse(&format!("{closed}/team/app:1")).unwrap();
    let found = bench.store.pull(&nobody, &RegistryAuth::Anonymous, &Platform::host(), &NoProgress).await;
    assert_eq!(kind(found), PullErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_huge_documents_end_at_their_limit() {
    let served = sample();
    for part in ["/manifests/", "/blobs/"] {
        let server = failing(
            &served,
            usize::MAX,
            move |asked| asked.path.contains(part),
            |_, mut good| {
                good.body = vec![b' '; 1 << 20];
                (good.length, good.endless) = (Some(1 << 40), true);
                good
            },
        )
        .await;
        let bench = Bench::new();
        let found = kind(bench.pull(&server).await);
        assert!(matches!(found, PullErrorKind::Limit | PullErrorKind::DigestMismatch), "{found:?}");
        bench.assert_empty();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_documents_that_lie_are_refused() {
    let served = sample();
    // A tag's manifest with the wrong digest when pinned.
    let server = honest(&served).await;
    let bench = Bench::new();
    let wrong = Digest::of(b"something else");
    let pinned = Reference::parse(&format!("{}/team/app@{wrong}", server.address)).unwrap();
    let forging = {
        let served = served.clone();
        Server::start("127.0.0.1", move |asked| {
            if asked.path.contains("/manifests/") {
                reply(200, &served.manifest)
            } else {
                served.answer(asked)
            }
        })
        .await
    };
    let pull = |reference: Reference| {
        let store = bench.store.clone();
        async move { store.pull(&reference, &RegistryAuth::Anonymous, &Platform::host(), &NoProgress).await }
    };
    assert_eq!(kind(pull(pinned).await), PullErrorKind::NotFound);
    let pinned = Reference::parse(&format!("{}/team/app@{wrong}", forging.address)).unwrap();
    assert_eq!(kind(pull(pinned).await), PullErrorKind::DigestMismatch);

    // A configuration whose diff ids are not the layers'.
    let layer = archive(&[file("a", "a")]);
    let lying = Served::with_config(std::slice::from_ref(&layer), config_of(&[Digest::of(b"x").to_string()]));
    assert_eq!(kind(bench.pull(&honest(&lying).await).await), PullErrorKind::DigestMismatch);
    let too_many = config_of(&[Digest::of(&layer).to_string(), Digest::of(&layer).to_string()]);
    let lying = Served::with_config(std::slice::from_ref(&layer), too_many);
    assert_eq!(kind(bench.pull(&honest(&lying).await).await), PullErrorKind::Manifest);

    // A manifest served as an index.
    let server = failing(
        &served,
        usize::MAX,
        |asked| asked.path.contains("/manifests/"),
        |_, mut good| {
            good.headers = vec![("content-type".into(), "application/vnd.oci.image.index.v1+json".into())];
            good
        },
    )
    .await;
    assert_eq!(kind(bench.pull(&server).await), PullErrorKind::Manifest);
    bench.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_foreign_urls_are_not_followed() {
    let elsewhere = Server::start("127.0.0.2", |_| reply(200, "x")).await;
    let mut served = sample();
    let mut manifest: serde_json::Value = serde_json::from_slice(&served.manifest).unwrap();
    manifest["layers"][1]["urls"] = serde_json::json!([format!("http://{}/layer", elsewhere.address)]);
    manifest["layers"][1]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    served.manifest = manifest.to_string().into_bytes();
    Bench::new().pull(&honest(&served).await).await.unwrap();
    assert_eq!(elsewhere.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_is_chosen_from_an_index() {
    let served = sample();
    let host = Platform::host();
    let entry = |digest: Digest, size: usize, architecture: &str| {
        serde_json::json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture } })
    };
    let index = |entries: Vec<serde_json::Value>| {
        serde_json::json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries })
            .to_string()
    };
    let with_index = |index: String| {
        let served = served.clone();
        Server::start("127.0.0.1", move |asked| {
            if asked.path.ends_with("/manifests/1") {
                return reply(200, &index).header("content-type", "application/vnd.oci.image.index.v1+json");
            }
            served.answer(asked)
        })
    };
    let ours = entry(served.digest(), served.manifest.len(), &host.architecture);
    let other = entry(Digest::of(b"other"), 5, "s390x");
    let both = index(vec![other.clone(), ours]);
    let server = with_index(both.clone()).await;
    let image = Bench::new().pull(&server).await.unwrap();
    assert_eq!(image.manifest_digest, served.digest().to_string());
    let pinned = format!("{}/team/app@{}", server.address, Digest::of(both.as_bytes()));
    assert!(image.references.contains(&pinned), "{:?} lacks {pinned}", image.references);

    let error = Bench::new().pull(&with_index(index(vec![other.clone()])).await).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::NoMatchingPlatform);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
    // An index that says amd64 of an image for another machine, or a size that is not the manifest's.
    let lying = index(vec![entry(served.digest(), served.manifest.len() + 1, &host.architecture)]);
    assert_eq!(kind(Bench::new().pull(&with_index(lying).await).await), PullErrorKind::DigestMismatch);
    // A plain manifest of another architecture.
    let config = String::from_utf8(served.config.clone()).unwrap().replace(&host.architecture, "riscv64");
    let foreign = Served::with_config(&[archive(&[file("a", "a")])], config.into_bytes());
    let found = kind(Bench::new().pull(&honest(&foreign).await).await);
    assert!(matches!(found, PullErrorKind::NoMatchingPlatform | PullErrorKind::Manifest), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_dropped_leaves_nothing_and_blocks_nobody() {
    let served = sample();
    let path = layer_path(&served, 1);
    let server = failing(
        &served,
        1,
        move |asked| asked.path.contains(&path),
        |_, mut good| {
            good.trickle = Some((64 << 10, Duration::from_millis(100)));
            good
        },
    )
    .await;
    let bench = Bench::new();
    let dropped = tokio::time::timeout(Duration::from_millis(300), bench.pull(&server)).await;
    assert!(dropped.is_err(), "the pull was over too soon to be dropped");
    // The unpacking thread hears of it and clears up.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) && !is_clear(&bench) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.assert_empty();
    bench.pull(&server).await.unwrap();
}

fn is_clear(bench: &Bench) -> bool {
    let tmp = bench.scratch.path().join("store/tmp");
    names(&tmp)
        .iter()
        .map(|name| tmp.join(name))
        .filter(|path| path.is_dir())
        .all(|path| names(&path).is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_in_the_registrys_words() {
    let server = honest(&sample()).await;
    let bench = Bench::new();
    let reference = Reference::parse(&format!("{}/team/app:2", server.address)).unwrap();
    let error = bench
        .store
        .pull(&reference, &RegistryAuth::Anonymous, &Platform::host(), &NoProgress)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::NotFound);
    assert!(error.to_string().contains("team/app:2: not found: manifest unknown"), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_the_whole_of_every_layer() {
    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<Report>>);
    type Report = (String, u64, Option<u64>, image::Phase);
    impl Progress for Heard {
        fn layer(&self, digest: &str, done: u64, total: Option<u64>, phase: image::Phase) {
            self.0.lock().unwrap().push((digest.to_owned(), done, total, phase));
        }
        fn message(&self, _text: &str) {}
    }
    let served = sample();
    let server = honest(&served).await;
    let (bench, heard) = (Bench::new(), Arc::new(Heard::default()));
    let reference = Reference::parse(&format!("{}/team/app:1", server.address)).unwrap();
    bench.store.pull(&reference, &RegistryAuth::Anonymous, &Platform::host(), &*heard).await.unwrap();
    for layer in &served.layers {
        let size = layer.len() as u64;
        let expected = (Digest::of(layer).to_string(), size, Some(size), image::Phase::Complete);
        assert!(heard.0.lock().unwrap().contains(&expected));
    }
    let partial =
        heard.0.lock().unwrap().iter().filter(|report| report.3 == image::Phase::Downloading).count();
    assert!(partial >= 2, "{partial} reports while downloading");
}

#[tokio::test(flavor = "multi_thread")]
async fn a09_a_layer_that_unpacks_to_far_too_much_is_stopped() {
    // 64 MB of zeros in 64 KB; the test's own limit is 16 MB, the ratio 100.
    let layer = archive(&[file("zeros", vec![0; 64 << 20])]);
    let served = Served::new(&[layer]);
    let scratch = scratch();
    let limits = Limits { compression_ratio: 100, compression_ratio_from_bytes: 16 << 20, ..limits() };
    let store = ImageStore::open_with(&scratch.path().join("store"), limits).unwrap();
    let bench = Bench { scratch, store };
    let error = bench.pull(&honest(&served).await).await.unwrap_err();
    assert!(
        matches!(&error, PullError::Image(ImageError::Limit { what, .. }) if what.contains("ratio")),
        "{error}"
    );
    bench.assert_empty();
}
