//! Key pairs: OpenSSH's formats of keys, and fingerprints as AWS computes them.

use std::fmt;
use std::sync::Arc;

use base::{Ids, Scope, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{KeyPair, KeyPairType};
use md5::{Digest as _, Md5};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use store::{Key, Snapshot};
use wire::Fault;

use super::{tag, value};
use crate::faults;
use crate::filter::Filterable;
use crate::listing::{Kind, Listed};

/// Characters of a name. Source: CreateKeyPair, `KeyName`.
const NAME_CHARACTERS: usize = 255;
/// Source: "Amazon EC2 service quotas", key pairs.
const KEY_PAIRS_PER_REGION: usize = 5000;
/// Bytes of an imported key in text form: one of 4096 bits has 720.
const IMPORTED_BYTES: usize = 16 * 1024;
/// Lengths of an RSA key, in bits. Source: ImportKeyPair, "Supported lengths".
const RSA_BITS: [usize; 3] = [1024, 2048, 4096];
/// Bytes of an Ed25519 public key (RFC 8032).
const ED25519_BYTES: usize = 32;
/// Characters of a line of a private key's text, as ssh-keygen writes it.
const LINE_CHARACTERS: usize = 70;
/// The private part of an OpenSSH key is filled up to a multiple of this many bytes (PROTOCOL.key).
const PADDED_TO: usize = 8;

pub(crate) const KIND: Kind = Kind {
    operation: "DescribeKeyPairs",
    prefix: "key-",
    malformed: "InvalidKeyPair.NotFound",
    not_found: "InvalidKeyPair.NotFound",
    noun: "key pair ID",
    filters: &[("fingerprint", &[]), ("key-name", &[]), ("key-pair-id", &[])],
    has_tags: true,
};

impl Filterable for Arc<KeyPair> {
    fn filter_values(&self, name: &str) -> Vec<String> {
        match name {
            "fingerprint" => value(&self.fingerprint),
            "key-name" => value(&self.name),
            "key-pair-id" => value(&self.id),
            _ => Vec::new(),
        }
    }

    fn filter_tags(&self) -> &[Tag] {
        &self.tags
    }
}

impl Listed for Arc<KeyPair> {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All key pairs of a scope.
pub(crate) fn all(snapshot: &Snapshot, scope: &Scope) -> Vec<Arc<KeyPair>> {
    snapshot.scan::<KeyPair>(Key::prefix(scope, &[]), None).map(|row| row.value).collect()
}

/// Checks a name, and that it is free.
pub(crate) fn check_name(snapshot: &Snapshot, scope: &Scope, name: &str) -> Result<(), Fault> {
    let is_plain = |character: char| character.is_ascii_graphic() || character == ' ';
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS || !name.chars().all(is_plain) {
        let message = format!("Value ({name}) for parameter KeyName is invalid.");
        return Err(faults::invalid_value(message));
    }
    if snapshot.get::<KeyPair>(&Key::new(scope, &[name])).is_some() {
        return Err(Fault::new("InvalidKeyPair.Duplicate", "The keypair already exists", 400));
    }
    if snapshot.scan::<KeyPair>(Key::prefix(scope, &[]), None).count() >= KEY_PAIRS_PER_REGION {
        let message = "The maximum number of key pairs has been reached.";
        return Err(Fault::new("KeyPairLimitExceeded", message, 400));
    }
    Ok(())
}

/// The fault for a name that no key pair has.
pub(crate) fn no_such_name(name: &str) -> Fault {
    Fault::new(KIND.not_found, format!("The key pair '{name}' does not exist"), 400)
}

/// A private key in OpenSSH's text form. It is told once and kept nowhere.
pub(crate) struct PrivateKey(pub(crate) String);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a private key")
    }
}

/// The public half of a key.
#[derive(Debug)]
pub(crate) struct PublicKey {
    pub(crate) key_type: KeyPairType,
    pub(crate) fingerprint: String,
    /// One line, without the comment.
    pub(crate) line: String,
}

/// A new Ed25519 key pair.
pub(crate) fn new_ed25519(ids: &dyn Ids, name: &str) -> Result<(PublicKey, PrivateKey), Fault> {
    let mut seed = [0; 32];
    ids.fill(&mut seed);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(Fault::server)?;
    let public = pair.public_key().as_ref();
    let blob = [string(b"ssh-ed25519"), string(public)].concat();
    let mut check = [0; 4];
    ids.fill(&mut check);
    let secret = [seed.as_slice(), public].concat();
    let mut private =
        [check.to_vec(), check.to_vec(), blob.clone(), string(&secret), string(name.as_bytes())].concat();
    for padding in 1.. {
        if private.len().is_multiple_of(PADDED_TO) {
            break;
        }
        private.push(padding);
    }
    // PROTOCOL.key of OpenSSH: cipher, key derivation and its options, number of keys, public keys, private keys.
    let body = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        1_u32.to_be_bytes().to_vec(),
        string(&blob),
        string(&private),
    ]
    .concat();
    let text = wrapped(&STANDARD.encode(body));
    let text = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n");
    Ok((ed25519_key(&blob), PrivateKey(text)))
}

fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    for (index, character) in text.chars().enumerate() {
        lines.push(character);
        if (index + 1).is_multiple_of(LINE_CHARACTERS) {
            lines.push('\n');
        }
    }
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    lines
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [length.to_be_bytes().as_slice(), bytes].concat()
}

/// Source: "Verify the fingerprint": the SHA-256 of the public key, as OpenSSH takes it.
fn ed25519_key(blob: &[u8]) -> PublicKey {
    let digest = ring::digest::digest(&ring::digest::SHA256, blob);
    PublicKey {
        key_type: KeyPairType::Ed25519,
        fingerprint: STANDARD.encode(digest.as_ref()),
        line: format!("ssh-ed25519 {}", STANDARD.encode(blob)),
    }
}

/// A key of OpenSSH's or RFC 4716's form.
pub(crate) fn imported(material: &[u8]) -> Result<PublicKey, Fault> {
    let refused = || Fault::new("InvalidKey.Format", "Key is not in valid OpenSSH public key format", 400);
    let text = Some(material).filter(|material| material.len() <= IMPORTED_BYTES);
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(refused)?.trim();
    let encoded = match text.strip_prefix("---- BEGIN SSH2 PUBLIC KEY ----") {
        Some(rest) => of_rfc4716(rest).ok_or_else(refused)?,
        None => text.split_whitespace().nth(1).ok_or_else(refused)?.to_owned(),
    };
    let blob = STANDARD.decode(encoded).map_err(|_| refused())?;
    let mut reader = Reader(&blob);
    match reader.string().ok_or_else(refused)? {
        b"ssh-ed25519" => {
            let public = reader.string().ok_or_else(refused)?;
            if public.len() != ED25519_BYTES || !reader.0.is_empty() {
                return Err(refused());
            }
            Ok(ed25519_key(&blob))
        }
        b"ssh-rsa" => {
            let exponent = reader.string().ok_or_else(refused)?;
            let modulus = reader.string().ok_or_else(refused)?;
            let digits = modulus.strip_prefix(&[0]).unwrap_or(modulus);
            if exponent.is_empty() || !reader.0.is_empty() || !RSA_BITS.contains(&(digits.len() * 8)) {
                return Err(refused());
            }
            let info = subject_public_key_info(modulus, exponent);
            let digest = Md5::digest(&info);
            let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(PublicKey {
                key_type: KeyPairType::Rsa,
                fingerprint: pairs.join(":"),
                line: format!("ssh-rsa {}", STANDARD.encode(&blob)),
            })
        }
        _ => Err(refused()),
    }
}

/// The base64 text of a key of RFC 4716: headers may go on in further lines.
fn of_rfc4716(rest: &str) -> Option<String> {
    let (body, _) = rest.split_once("---- END SSH2 PUBLIC KEY ----")?;
    let mut text = String::new();
    let mut in_header = false;
    for line in body.lines().map(str::trim) {
        if in_header || line.contains(':') {
            in_header = line.ends_with('\\');
        } else {
            text.push_str(line);
        }
    }
    Some(text)
}

/// What is left of a key's bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn string(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (text, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

/// The key in DER, as RFC 3279 has it: what AWS takes the fingerprint of.
fn subject_public_key_info(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    // 1.2.840.113549.1.1.1, rsaEncryption, and NULL.
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let key = der(0x30, &[der(0x02, modulus), der(0x02, exponent)].concat());
    let bits = der(0x03, &[&[0], key.as_slice()].concat());
    der(0x30, &[ALGORITHM.as_slice(), &bits].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut made = vec![tag];
    match significant.as_slice() {
        [] => made.push(0),
        [one] if *one < 0x80 => made.push(*one),
        more => {
            made.push(0x80 | u8::try_from(more.len()).unwrap_or_default());
            made.extend(more);
        }
    }
    made.extend(content);
    made
}

/// The wire form.
pub(crate) fn describe(key_pair: &KeyPair, with_public_key: bool) -> api::ec2::KeyPairInfo {
    api::ec2::KeyPairInfo {
        create_time: Some(key_pair.created_at),
        key_fingerprint: Some(key_pair.fingerprint.clone()),
        key_name: Some(key_pair.name.clone()),
        key_pair_id: Some(key_pair.id.clone()),
        key_type: Some(key_pair.key_type.to_string()),
        public_key: with_public_key.then(|| format!("{} {}", key_pair.public_key, key_pair.name)),
        tags: Some(tag::describe(&key_pair.tags).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededIds;

    /// Made by `ssh-keygen -t rsa -b 1024`; its fingerprint by `openssl pkey -pubin -outform DER | openssl md5 -c`.
    pub(crate) const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDDYLZJs/9iwqBOoxac+6FhcgFkH6PCFy8QyRHw58\
        qkC+b5auttu/zKs6xkPQfPgbNuCpj1Y7mven/OoJ4Whb0QkZNysaZ1aHPVthE3hnVd/Ctc+maxiemjDR2WsJPbQiJy\
        etL3hucrFvRX7bdgLPBEB+SmJ9n/UXEQE5/IoE1J2Q== c";
    const RSA_FINGERPRINT: &str = "6f:29:f1:7c:34:53:fd:56:d1:08:02:6b:ca:47:3e:21";

    #[test]
    fn an_imported_rsa_key_has_the_md5_of_its_der_form() {
        let key = imported(RSA.as_bytes()).unwrap();
        assert_eq!((key.key_type, key.fingerprint.as_str()), (KeyPairType::Rsa, RSA_FINGERPRINT));
        let encoded = RSA.split_whitespace().nth(1).unwrap();
        let (one, other) = encoded.split_at(70);
        let text = format!(
            "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"a\\\nb\"\n{one}\n{other}\n---- END SSH2 PUBLIC KEY ----\n"
        );
        assert_eq!(imported(text.as_bytes()).unwrap().line, key.line);
    }

    #[test]
    fn a_new_key_is_one_that_can_be_imported() {
        let (public, private) = new_ed25519(&SeededIds::new(3), "mine").unwrap();
        assert_eq!(imported(public.line.as_bytes()).unwrap().fingerprint, public.fingerprint);
        assert!(private.0.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(private.0.lines().all(|line| line.len() <= LINE_CHARACTERS));
        assert_eq!(format!("{private:?}"), "a private key");
        let body: String = private.0.lines().filter(|line| !line.starts_with('-')).collect();
        let body = STANDARD.decode(body).unwrap();
        let rest = body.strip_prefix(b"openssh-key-v1\0").unwrap();
        let mut reader = Reader(rest);
        assert_eq!(
            [reader.string(), reader.string(), reader.string()],
            [Some(&b"none"[..]), Some(b"none"), Some(b"")]
        );
        reader.0 = &reader.0[4..];
        let blob = reader.string().unwrap();
        assert!(public.line.ends_with(&STANDARD.encode(blob)));
        assert_eq!(reader.string().unwrap().len() % PADDED_TO, 0);
        assert!(reader.0.is_empty());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let short =
            format!("ssh-ed25519 {}", STANDARD.encode([string(b"ssh-ed25519"), string(b"x")].concat()));
        let weak = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&[0xff; 64])].concat();
        let weak = format!("ssh-rsa {}", STANDARD.encode(weak));
        for bad in ["", "x", "ssh-rsa x", "ssh-rsa AAAA", "ssh-dss AAAAB3NzaC1kc3M=", &short, &weak] {
            assert_eq!(imported(bad.as_bytes()).unwrap_err().code(), "InvalidKey.Format", "{bad}");
        }
        assert!(imported(&[0xff; 100]).is_err());
        assert!(imported("a ".repeat(IMPORTED_BYTES).as_bytes()).is_err());
    }
}
