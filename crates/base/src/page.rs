//! Opaque page tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Why a page token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page token is not one that this operation gave out")]
pub struct PageTokenError;

/// Where the next page of a listing starts: the key of the last row given out.
///
/// A token names its listing, so that one of another operation is refused instead of being misread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The row key after which the next page starts.
    pub after: String,
}

impl PageToken {
    /// The token as the caller sees it. `listing` is the operation and whatever filters must stay the same.
    pub fn encode(listing: &str, after: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("1\0{listing}\0{after}"))
    }

    /// Reads a token that [`PageToken::encode`] wrote for the same `listing`.
    pub fn decode(listing: &str, token: &str) -> Result<Self, PageTokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageTokenError)?;
        let text = String::from_utf8(bytes).map_err(|_| PageTokenError)?;
        let rest = text.strip_prefix("1\0").ok_or(PageTokenError)?;
        let after =
            rest.strip_prefix(listing).and_then(|rest| rest.strip_prefix('\0')).ok_or(PageTokenError)?;
        Ok(Self { after: after.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_only_its_own_listing() {
        let token = PageToken::encode("ListTasks", "default/abc");
        assert_eq!(PageToken::decode("ListTasks", &token).unwrap().after, "default/abc");
        assert!(PageToken::decode("ListClusters", &token).is_err());
        assert!(PageToken::decode("ListTasks", "%%%").is_err());
    }
}
