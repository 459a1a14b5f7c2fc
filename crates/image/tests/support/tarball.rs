//! Hand-built tar archives, right and wrong.
#![allow(dead_code, reason = "each test file uses its part")]

use image::Digest;

/// A member's header fields; everything but what a test is about has a default.
#[derive(Clone)]
pub struct Member {
    pub path: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    /// What the size field says, when it is not the content's length.
    pub size: Option<u64>,
    pub device: (u32, u32),
    pub modified: u64,
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

pub fn member(path: impl AsRef<[u8]>, kind: u8) -> Member {
    Member {
        path: path.as_ref().to_vec(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        link: Vec::new(),
        content: Vec::new(),
        size: None,
        device: (0, 0),
        modified: 1_000_000_000,
        pax: Vec::new(),
    }
}

pub fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Member {
    Member { content: content.as_ref().to_vec(), ..member(path, b'0') }
}

pub fn directory(path: impl AsRef<[u8]>) -> Member {
    member(path, b'5')
}

pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..member(path, b'2') }
}

pub fn hardlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Member {
    Member { link: target.as_ref().to_vec(), ..member(path, b'1') }
}

impl Member {
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.pax.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut pax = self.pax.clone();
        let mut short = self.clone();
        if self.path.len() > 100 {
            pax.push((b"path".to_vec(), self.path.clone()));
            short.path.truncate(100);
        }
        if self.link.len() > 100 {
            pax.push((b"linkpath".to_vec(), self.link.clone()));
            short.link.truncate(100);
        }
        if !pax.is_empty() {
            let records: Vec<u8> = pax.iter().flat_map(|(key, value)| record(key, value)).collect();
            bytes.extend(plain(&file("PaxHeaders/x", records), Some(b'x')));
        }
        bytes.extend(plain(&short, None));
        bytes
    }
}

fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

fn plain(member: &Member, kind: Option<u8>) -> Vec<u8> {
    let mut block = vec![0u8; 512];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &member.path);
    put(100, format!("{:07o}\0", member.mode).as_bytes());
    put(108, format!("{:07o}\0", member.uid).as_bytes());
    put(116, format!("{:07o}\0", member.gid).as_bytes());
    put(124, format!("{:011o}\0", member.size.unwrap_or(member.content.len() as u64)).as_bytes());
    put(136, format!("{:011o}\0", member.modified).as_bytes());
    put(148, b"        ");
    put(156, &[kind.unwrap_or(member.kind)]);
    put(157, &member.link);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}\0", member.device.0).as_bytes());
    put(337, format!("{:07o}\0", member.device.1).as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(&member.content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

/// An archive with its end.
pub fn archive(members: &[Member]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// The configuration of an image with these layers.
pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    config_of(&diff_ids)
}

pub fn config_of(diff_ids: &[String]) -> Vec<u8> {
    let architecture = image::Platform::host().architecture;
    serde_json::json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": ["/x"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string()
    .into_bytes()
}

/// What `docker save` would write for an image of these layers.
pub fn docker_archive(tag: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(layers);
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}.tar")).collect();
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": names }]).to_string();
    let mut members = vec![file("config.json", config), file("manifest.json", manifest)];
    for (name, layer) in names.iter().zip(layers) {
        members.push(file(name, layer));
    }
    archive(&members)
}
