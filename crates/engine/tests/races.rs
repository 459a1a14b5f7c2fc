//! What the runtime prepares in a container while another container that shares a volume with it swaps what is there (A07:
//! CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).
//!
//! The attacker swaps, as fast as it can, mount points in the volume for links to places that a task definition cannot name, such as
//! `/dev`, and devices, directories and files there for links to what only the host may write.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use engine::{ContainerSpec, Device, Mount, Propagation};
use support::{Bench, id, skip, within};

/// Starts of a victim in each of the settings. `ROADSTEAD_RACES` asks for more of them.
const RACES: usize = 12;

/// What a victim finds of itself: what the machine hides is hidden, what it may not write it cannot. It writes what is there
/// already, so that even a lost race does no harm.
const VICTIM: &str = r#"
    for file in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname; do
        test -e $file || continue
        text=$(cat $file)
        (echo "$text" > $file) 2>&1 | grep -q . || echo "wrote $file"
    done
    for file in /proc/kcore /proc/keys /proc/timer_list; do
        test "$(head -c 1 $file 2>&1 | wc -c)" = 1 && echo "read $file"
    done
    test -d /sys/firmware && ls /sys/firmware | grep . && echo "saw firmware"
    for link in /proc/self/fd/*; do
        # A device of that name is one that was made inside the root.
        test -f $link && case $(readlink $link) in *core_pattern*|*outside*) echo "has $link open";; esac
    done
    echo end
"#;

/// Swaps what is in the shared volume, round and round: `dev` is where the victim's devices are made, `inner` holds mount points.
const ATTACKER: &str = r"
    cd /shared
    mkdir -p dev real/net/ipv4
    echo untouched > real/net/ipv4/ip_unprivileged_port_start
    ready=
    while :; do
        for pause in 0 300 1000 2000 4000 8000; do
            for target in /proc/sys/kernel/core_pattern $OUTSIDE/file /proc/self/attr/exec /proc/1/root$OUTSIDE/file; do
                # Links of the runtime's own from an earlier victim would stop the next one before it gets anywhere.
                rm -rf dev/* dev/.*
                usleep $pause
                for name in null console ptmx zero; do
                    ln -s $target dev/.$name; mv -f dev/.$name dev/$name
                done
                rm -rf dev/pts; ln -s $target dev/pts
                mkdir -p dev/net; rm -rf dev/net; ln -s $OUTSIDE dev/net; rm dev/net
                for place in /proc $OUTSIDE /dev / /sys; do
                    rm -rf inner; ln -s $place inner; usleep $pause
                    rm -rf inner; mkdir inner
                done
                for name in null console ptmx zero; do
                    mknod dev/.$name c 1 3; mv -f dev/.$name dev/$name
                done
            done
        done
        test $ready || echo round
        ready=1
    done
";

struct Race {
    bench: Bench,
    outside: PathBuf,
    shared: PathBuf,
    untouched: Vec<(PathBuf, String)>,
}

fn bind(source: &Path, destination: &str) -> Mount {
    let (source, destination) = (source.to_owned(), destination.into());
    Mount { source, destination, readonly: false, propagation: Propagation::Private }
}

impl Race {
    fn new() -> Self {
        let bench = Bench::new();
        let [outside, shared] = ["outside", "shared"].map(|name| bench.directory.path().join(name));
        for directory in [&outside, &shared] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(outside.join("file"), "the host's").unwrap();
        let mut untouched = Vec::new();
        let here = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"].map(PathBuf::from);
        for file in here.into_iter().chain([outside.join("file")]) {
            let text = fs::read_to_string(&file).unwrap();
            untouched.push((file, text));
        }
        Self { bench, outside, shared, untouched }
    }

    async fn attack(&self) {
        let mut spec = self.bench.shell("attacker", ATTACKER);
        spec.mounts.push(bind(&self.shared, "/shared"));
        spec.environment.push(("OUTSIDE".to_owned(), self.outside.to_str().unwrap().to_owned()));
        self.bench.start(spec).await;
        let under_way = async {
            while self.bench.output("attacker").is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(20, under_way).await;
    }

    fn victim(&self, setting: &str) -> ContainerSpec {
        let mut spec = self.bench.shell("victim", VICTIM);
        spec.mounts.push(bind(&self.shared, "/shared"));
        // Where one of these comes to lie over /dev or over the root, devices are made in the attacker's volume.
        if setting == "devices" {
            spec.terminal = true;
            spec.mounts.push(bind(&self.shared.join("dev"), "/shared/inner"));
            spec.devices.push(Device {
                host: "/dev/null".into(),
                container: "/dev/net/device".into(),
                permissions: "rwm".to_owned(),
            });
        } else {
            spec.mounts.push(bind(&self.shared.join("real"), "/shared/inner/sys"));
            spec.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "81".to_owned());
        }
        spec
    }

    /// Nothing that is the host's has changed.
    fn check(&self) {
        for (file, text) in &self.untouched {
            assert_eq!(&fs::read_to_string(file).unwrap(), text, "{}", file.display());
        }
        let fake = fs::read_to_string(self.shared.join("real/net/ipv4/ip_unprivileged_port_start"));
        assert!(
            fake.is_err() || fake.unwrap() == "untouched\n",
            "a system control was set in a file of the attacker's"
        );
        let null = fs::symlink_metadata("/dev/null").unwrap();
        assert!(null.file_type().is_char_device() && null.rdev() == 0x103, "the host's /dev/null");
        let names: Vec<_> =
            fs::read_dir(&self.outside).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["file"], "something was made outside");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let outside = self.outside.to_str().unwrap();
        assert!(!mounts.contains(outside), "something is mounted outside:\n{mounts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_links_of_an_image_lead_no_volume_to_where_devices_are_made() {
    if skip("a07_links_of_an_image_lead_no_volume_to_where_devices_are_made") {
        return;
    }
    let race = Race::new();
    for (link, target) in [("to-dev", "dev"), ("to-proc", "proc/sys"), ("to-root", "."), ("dev", "shared")] {
        let layer = race.bench.directory.path().join(format!("links-{link}"));
        fs::create_dir(&layer).unwrap();
        symlink(target, layer.join(link)).unwrap();
        let mut spec = race.bench.shell("victim", VICTIM);
        spec.root.lower_directories.insert(0, layer);
        let place = if link == "dev" { "/shared".to_owned() } else { format!("/{link}") };
        spec.mounts.push(bind(&race.shared, &place));
        let error = race.bench.engine.create(spec).await.expect_err(link).to_string();
        assert!(
            error.contains("nothing can be mounted at")
                || error.contains("is a link")
                || error.contains("not /"),
            "{link}: {error}"
        );
        assert_eq!(fs::read_dir(&race.shared).unwrap().count(), 0, "{link}");
    }
    race.check();
    race.bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_what_is_swapped_while_the_runtime_prepares_leads_nowhere() {
    if skip("a07_what_is_swapped_while_the_runtime_prepares_leads_nowhere") {
        return;
    }
    let races = std::env::var("ROADSTEAD_RACES").map_or(RACES, |races| races.parse().unwrap());
    let race = Race::new();
    race.attack().await;
    let mut started = 0;
    for setting in ["devices", "mounts"] {
        for _ in 0..races {
            // Refused is as good.
            if race.bench.engine.create(race.victim(setting)).await.is_ok() {
                if race.bench.engine.start(&id("victim")).await.is_ok() {
                    started += 1;
                    within(20, race.bench.engine.wait(&id("victim"))).await.unwrap();
                    let output = race.bench.output("victim");
                    assert_eq!(output.trim(), "end", "{setting}");
                }
                race.bench.engine.delete(&id("victim")).await.unwrap();
            }
            let _ = fs::remove_file(race.bench.log_path("victim"));
            race.check();
        }
    }
    assert!(started > 0, "none got as far as its first instruction");
    race.bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_below_volumes_keep_what_they_may() {
    if skip("volumes_below_volumes_keep_what_they_may") {
        return;
    }
    let bench = Bench::new();
    let [outer, inner] = ["outer", "inner"].map(|name| bench.directory.path().join(name));
    for directory in [&outer, &inner] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("mark"), directory.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
    let script = "cd /v; cat mark deep/er/mark file; \
                  for at in . deep/er; do (echo x > $at/$1) 2>/dev/null && echo \" wrote $at\"; done; true";
    for (readonly, wrote) in [([false, true], " wrote .\n"), ([true, false], " wrote deep/er\n")] {
        let mut spec = bench.shell("below", script);
        // In the order of a task definition, which says nothing of depth.
        spec.mounts.push(Mount { readonly: readonly[1], ..bind(&inner, "/v/deep/er") });
        spec.mounts.push(bind(&inner.join("mark"), "/v/file"));
        spec.mounts.push(Mount { readonly: readonly[0], ..bind(&outer, "/v") });
        let name = format!("new-{}", readonly[0]);
        spec.arguments.extend(["sh".to_owned(), name.clone()]);
        let (exit, output) = bench.run(spec).await;
        assert_eq!((exit.code, output), (0, format!("outerinnerinner{wrote}")), "{readonly:?}");
        assert_eq!(outer.join(&name).exists(), !readonly[0]);
        assert_eq!(inner.join(&name).exists(), !readonly[1]);
    }
    // The mount points were made in the volume, as Docker does, and nothing is left mounted there.
    assert_eq!(fs::read_dir(outer.join("deep/er")).unwrap().count(), 0);
    bench.finish().await;
}
