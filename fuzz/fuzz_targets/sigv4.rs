//! Signatures: nothing but what the key made is ever accepted.
#![no_main]

use base::Timestamp;
use libfuzzer_sys::fuzz_target;
use wire::Principal;
use wire::sigv4::{Credentials, KnownKey, SecretKey, verify};

struct Keys;

impl Credentials for Keys {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        let account = "000000000000".parse().ok()?;
        Some(KnownKey {
            secret_access_key: SecretKey::new("a secret that the fuzzer does not know: 5f1c9a"),
            session_token: None,
            principal: Principal::root(&account, access_key_id),
        })
    }
}

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (uri, authorization, date, body) = input;
    let request = http::Request::post(uri)
        .header("host", "localhost")
        .header("authorization", authorization)
        .header("x-amz-date", date)
        .body(());
    if let Ok(request) = request {
        let (parts, ()) = request.into_parts();
        let now = Timestamp::from_millis(1_440_938_160_000);
        assert!(verify(&parts, body, &Keys, now).is_err());
    }
});
