//! The access keys that requests are verified against.

use base::AccountId;
use wire::Principal;
use wire::sigv4::{Credentials, KnownKey, SecretKey};

/// The root user's key, and the key that this process's own agent signs with.
///
/// The agent's key is made anew at each start and never leaves the process: no file and no endpoint holds it, so that
/// nothing that runs on the machine can take an agent's place.
pub struct KeyRing {
    root: KnownKey,
    root_id: String,
    node: KnownKey,
    node_id: String,
}

impl KeyRing {
    /// The ring of `account`.
    pub fn new(account: &AccountId, root: (&str, &str), node: (&str, &str)) -> Self {
        let known = |secret: &str, principal| KnownKey {
            secret_access_key: SecretKey::new(secret),
            session_token: None,
            principal,
        };
        Self {
            root: known(root.1, Principal::root(account, root.0)),
            root_id: root.0.to_owned(),
            node: known(node.1, Principal::node(account, "roadstead-up", node.0)),
            node_id: node.0.to_owned(),
        }
    }
}

impl Credentials for KeyRing {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        if access_key_id == self.root_id {
            Some(self.root.clone())
        } else if access_key_id == self.node_id {
            Some(self.node.clone())
        } else {
            None
        }
    }
}
