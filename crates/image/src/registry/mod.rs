//! Pulling from registries that speak the OCI distribution protocol (docker's registry API v2).

use std::fmt;

use crate::config::Platform;
use crate::error::PullError;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Image, ImageStore};

/// What to say to a registry that asks who is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum RegistryAuth {
    /// Nothing, or a token that is given to anybody.
    #[default]
    Anonymous,
    /// A name and a password, given to the registry or to the token server that it names.
    Basic {
        /// The user; `AWS` for Amazon ECR.
        username: String,
        /// Never printed.
        password: String,
    },
}

impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).finish_non_exhaustive()
            }
        }
    }
}

pub(crate) async fn pull(
    store: &ImageStore,
    reference: &Reference,
    auth: &RegistryAuth,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Image, PullError> {
    let _ = (store, auth, platform, progress);
    Err(PullError::Unreachable {
        registry: reference.registry().to_owned(),
        detail: "not connected yet".to_owned(),
    })
}
