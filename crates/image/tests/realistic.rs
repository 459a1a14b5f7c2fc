//! nginx and PostgreSQL on a debootstrap root: as docker-save archive, as OCI archive, and pulled from Debian's
//! registry after skopeo pushed them. All three give the same trees.
//!
//! The images are built once by tests/images/build.sh and kept in the target directory; other crates' tests share
//! them. Without the Debian packages that it needs these tests are skipped by name.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image::{Image, ImageStore, NoProgress, Platform, PullErrorKind, Reference, RegistryAuth};
use support::{Overlay, attributes, builders, merged_tree, scratch};

/// The folder of the built images, or `None` with a reason printed.
fn images(test: &str) -> Option<PathBuf> {
    for tool in ["debootstrap", "skopeo", "docker-registry", "zstd", "setcap", "python3"] {
        if !std::env::split_paths(&std::env::var_os("PATH")?).any(|directory| directory.join(tool).exists()) {
            eprintln!("skipped {test}: {tool} is not installed");
            return None;
        }
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("test-images");
    let output = Command::new(builders().join("build.sh")).arg(&directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(directory)
}

/// Debian's docker-registry on a port of loopback; killed on drop.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    /// `password` in htpasswd's form turns authentication on.
    fn start(storage: &Path, password: Option<&str>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            storage.join("data").display()
        );
        if let Some(line) = password {
            let file = storage.join("htpasswd");
            fs::write(&file, line).unwrap();
            let path = file.display();
            config = format!(
                "{config}auth:
  htpasswd:
    realm: test
    path: {path}
"
            );
        }
        Self::start_at(storage, address, &config)
    }

    fn start_at(storage: &Path, address: String, config: &str) -> Self {
        let path = storage.join("config.yml");
        fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, address }
    }

    fn push(&self, source: &str, name: &str, credentials: Option<&str>) {
        let mut command = Command::new("skopeo");
        command.args(["copy", "--quiet", "--dest-tls-verify=false", "--insecure-policy"]);
        if let Some(credentials) = credentials {
            command.args(["--dest-creds", credentials]);
        }
        let target = format!("docker://{}/{name}", self.address);
        let output = command.args([source, &target]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pull(store: &ImageStore, name: &str, auth: &RegistryAuth) -> Result<Image, image::PullError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(store.pull(&Reference::parse(name).unwrap(), auth, &Platform::host(), &NoProgress))
}

/// Loads and pulls one image in these ways, compares the trees, and returns it in the first way's store.
fn every_way(directory: &Path, scratch: &Path, name: &str, ways: &[&str]) -> (ImageStore, Image) {
    let registry = Registry::start(scratch, None);
    // The docker archive is pushed with gzip, the OCI archive as it is.
    registry.push(
        &format!("docker-archive:{}/{name}.docker.tar", directory.display()),
        &format!("{name}:docker"),
        None,
    );
    registry.push(
        &format!("oci-archive:{}/{name}.oci.tar", directory.display()),
        &format!("{name}:oci"),
        None,
    );
    let mut first: Option<(ImageStore, Image, Vec<String>)> = None;
    for way in ways {
        let store = ImageStore::open(&scratch.join(way)).unwrap();
        let image = match way.strip_prefix("pull-") {
            None => {
                let archive = directory.join(format!("{name}.{way}.tar"));
                let image = store.load(&archive, None, &NoProgress).unwrap().remove(0);
                assert_eq!(image.references, [format!("{name}:debian")]);
                image
            }
            Some(tag) => {
                pull(&store, &format!("{}/{name}:{tag}", registry.address), &RegistryAuth::Anonymous).unwrap()
            }
        };
        let tree = merged_tree(&store, &image);
        assert!(tree.len() > 3000, "{} files", tree.len());
        if let Some((_, other, expected)) = &first {
            assert_eq!((&image.config, image.size_bytes), (&other.config, other.size_bytes));
            assert_eq!(image.layers, other.layers, "{way}");
            for (ours, theirs) in tree.iter().zip(expected) {
                assert_eq!(ours, theirs, "{way}");
            }
            assert_eq!(tree.len(), expected.len());
        } else {
            first = Some((store, image, tree));
        }
    }
    let (store, image, _) = first.unwrap();
    (store, image)
}

#[test]
fn nginx_is_the_same_in_every_way_it_comes() {
    let Some(directory) = images("nginx_is_the_same_in_every_way_it_comes") else { return };
    let scratch = scratch();
    let (store, image) =
        every_way(&directory, scratch.path(), "nginx", &["docker", "oci", "pull-docker", "pull-oci"]);
    assert_eq!(image.layers.len(), 4);
    assert_eq!(image.config.stop_signal.as_deref(), Some("SIGQUIT"));
    let root = Overlay::mount(&store, &image);
    let at = |path: &str| root.path().join(path);
    assert_eq!(attributes(&at("usr/bin/ping")).keys().collect::<Vec<_>>(), ["security.capability"]);
    assert_eq!(attributes(&at("srv/www/index.html"))["user.origin"], b"tests/images");
    let page = fs::metadata(at("srv/www/index.html")).unwrap();
    assert_eq!((page.uid(), page.gid(), page.nlink()), (33, 33, 2));
    assert_eq!(fs::metadata(at("srv/www")).unwrap().mode() & 0o7777, 0o2775);
    assert_eq!(fs::metadata(at("usr/bin/su")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(at("tmp")).unwrap().mode() & 0o7777, 0o1777);
    // Whiteouts and the opaque directory.
    assert!(!at("usr/share/doc").exists());
    let sites: Vec<_> = fs::read_dir(at("etc/nginx/sites-enabled"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(sites, ["site"]);
    // And it runs: nginx reads its configuration and finds its users and modules.
    let check = Command::new("unshare")
        .args(["--net", "chroot"])
        .arg(root.path())
        .args(["nginx", "-V"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&check.stderr).contains("nginx version"), "{check:?}");
}

#[test]
fn postgres_is_the_same_loaded_and_pulled() {
    let Some(directory) = images("postgres_is_the_same_loaded_and_pulled") else { return };
    let scratch = scratch();
    let (store, image) = every_way(&directory, scratch.path(), "postgres", &["docker", "pull-oci"]);
    assert_eq!(
        (image.config.user.as_str(), image.config.volumes.as_slice()),
        ("postgres", &["/var/lib/postgresql/data".to_owned()][..])
    );
    let check = image.config.healthcheck.as_ref().unwrap();
    assert_eq!((check.interval, check.retries), (Duration::from_secs(5), 5));
    let root = Overlay::mount(&store, &image);
    let data = fs::metadata(root.path().join("var/lib/postgresql/data")).unwrap();
    assert_eq!(data.mode() & 0o7777, 0o700);
    assert_ne!(data.uid(), 0);
    let version = Command::new("chroot")
        .arg(root.path())
        .args(["/usr/lib/postgresql/15/bin/postgres", "--version"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("PostgreSQL"), "{version:?}");
}

#[test]
fn nginx_and_postgres_share_their_base() {
    let Some(directory) = images("nginx_and_postgres_share_their_base") else { return };
    let scratch = scratch();
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let nginx = store.load(&directory.join("nginx.docker.tar"), None, &NoProgress).unwrap().remove(0);
    let postgres = store.load(&directory.join("postgres.oci.tar"), None, &NoProgress).unwrap().remove(0);
    assert_eq!(nginx.layers[0], postgres.layers[0]);
    let layers = fs::read_dir(store.root().join("layers")).unwrap().count();
    assert_eq!(layers, nginx.layers.len() + postgres.layers.len() - 1);
}

#[test]
fn debians_registry_with_a_password() {
    let Some(_) = images("debians_registry_with_a_password") else { return };
    let scratch = scratch();
    // bcrypt of "pass word:1" for the user "someone", cost 5.
    let hashed = Command::new("python3")
        .args(["-c", "import crypt; print('someone:' + crypt.crypt('pass word:1', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)).replace('$2b$', '$2y$', 1))"])
        .output()
        .unwrap();
    let line = String::from_utf8(hashed.stdout).unwrap();
    if !line.starts_with("someone:$2y$") {
        eprintln!("skipped debians_registry_with_a_password: python3 makes no bcrypt hash");
        return;
    }
    let registry = Registry::start(scratch.path(), Some(&line));
    let archive = scratch.path().join("small.tar");
    support::busybox(&archive, &["--tag", "small:1"]);
    registry.push(&format!("docker-archive:{}", archive.display()), "small:1", Some("someone:pass word:1"));
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let name = format!("{}/small:1", registry.address);
    let found = pull(&store, &name, &RegistryAuth::Anonymous).unwrap_err();
    assert_eq!(found.kind(), PullErrorKind::Unauthorized, "{found}");
    let auth = |password: &str| RegistryAuth::Basic { username: "someone".into(), password: password.into() };
    assert_eq!(pull(&store, &name, &auth("wrong")).unwrap_err().kind(), PullErrorKind::Unauthorized);
    let image = pull(&store, &name, &auth("pass word:1")).unwrap();
    assert_eq!(image.references[0], name);
    assert_eq!(
        pull(&store, &format!("{}/small:2", registry.address), &auth("pass word:1")).unwrap_err().kind(),
        PullErrorKind::NotFound
    );
}

#[test]
fn the_example_image_loads_and_answers_sigterm() {
    let scratch = scratch();
    let archive = scratch.path().join("hello.tar");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello/build-image.sh");
    let output = Command::new(script).arg(&archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let store = ImageStore::open(&scratch.path().join("store")).unwrap();
    let image = store.load(&archive, None, &NoProgress).unwrap().remove(0);
    assert_eq!(
        (image.references.as_slice(), image.config.exposed_ports.as_slice()),
        (&["hello:latest".to_owned()][..], &["8080/tcp".to_owned()][..])
    );

    let root = Overlay::mount(&store, &image);
    let dev = root.path().join("dev");
    let devices = Command::new("mount").args(["--bind", "/dev"]).arg(&dev).status().unwrap();
    assert!(devices.success());
    let mut process = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child", "chroot"])
        .arg(root.path())
        .args(image.config.entrypoint.as_ref().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.find(|line| line.contains("listening on port 8080"));
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", process.id())).unwrap();
    let stop = Command::new("kill").args(["-TERM", children.trim()]).status().unwrap();
    let start = Instant::now();
    let said = lines.any(|line| line.contains("SIGTERM"));
    let status = process.wait().unwrap();
    let took = start.elapsed();
    let _ = Command::new("umount").arg(&dev).status();
    assert!(ready.is_some() && stop.success() && said);
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Where the TLS registry stands: an address that exists only in the child's network namespace (RFC 5737).
const TLS_ADDRESS: &str = "192.0.2.1:5443";

#[test]
fn registries_elsewhere_are_spoken_to_with_tls_only() {
    const NAME: &str = "registries_elsewhere_are_spoken_to_with_tls_only";
    let Some(_) = images(NAME) else { return };
    let scratch = scratch();
    let run = |script: &str| {
        let output = Command::new("sh").args(["-e", "-c", script]).current_dir(scratch.path()).output();
        output.is_ok_and(|output| output.status.success())
    };
    let certificates = run("openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
        openssl req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=registry
        printf 'subjectAltName=IP:192.0.2.1\nbasicConstraints=CA:FALSE\n' >extensions
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem");
    if !certificates {
        eprintln!("skipped {NAME}: openssl makes no certificate");
        return;
    }
    for trusted in [true, false] {
        let authorities = scratch.path().join(if trusted { "ca.pem" } else { "cert.pem" });
        let script = format!(
            "ip link set lo up && ip address add 192.0.2.1/32 dev lo && exec \"$1\" child_pulls_with_tls --exact --ignored --nocapture {}",
            if trusted { "" } else { "--quiet" }
        );
        let output = Command::new("unshare")
            .args(["--net", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .env("IMAGE_TEST_SCRATCH", scratch.path())
            .env("IMAGE_TEST_TRUSTED", if trusted { "1" } else { "0" })
            .env("SSL_CERT_FILE", authorities)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "trusted: {trusted}\n{}", String::from_utf8_lossy(&text));
    }
}

#[test]
#[ignore = "a child of another test, in a network namespace"]
fn child_pulls_with_tls() {
    let (Some(scratch), Some(trusted)) =
        (std::env::var_os("IMAGE_TEST_SCRATCH"), std::env::var_os("IMAGE_TEST_TRUSTED"))
    else {
        return;
    };
    let (scratch, trusted) = (PathBuf::from(scratch), trusted == "1");
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {0}/data\nhttp:\n  addr: {TLS_ADDRESS}\n  tls:\n    certificate: {0}/cert.pem\n    key: {0}/key.pem\n",
        scratch.display()
    );
    let registry = Registry::start_at(&scratch, TLS_ADDRESS.to_owned(), &config);
    let archive = scratch.join("small.tar");
    support::busybox(&archive, &["--tag", "small:1"]);
    registry.push(&format!("docker-archive:{}", archive.display()), "small:1", None);
    let store = ImageStore::open(&scratch.join(format!("store-{trusted}"))).unwrap();
    let result = pull(&store, &format!("{TLS_ADDRESS}/small:1"), &RegistryAuth::Anonymous);
    if trusted {
        assert_eq!(result.unwrap().references[0], format!("{TLS_ADDRESS}/small:1"));
    } else {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), PullErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    drop(registry);
    // The same place without TLS is not spoken to at all.
    let plain = Registry::start_at(
        &scratch,
        "192.0.2.1:5000".to_owned(),
        config.replace(TLS_ADDRESS, "192.0.2.1:5000").split("  tls:").next().unwrap(),
    );
    let error = pull(&store, &format!("{}/small:1", plain.address), &RegistryAuth::Anonymous).unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Unreachable, "{error}");
}
