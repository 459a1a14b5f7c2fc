//! The cookies by which a client stays with its target and its target group. Source: "Sticky sessions for your
//! Application Load Balancer".
//!
//! A cookie is sealed (AES-256-GCM) with what it is for, so that a client can neither read, make nor move one. Its own
//! life is seven days, as documented; how long it holds is inside.

use base::{Ids, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::time::Duration;

/// Days after which a browser forgets a cookie.
const COOKIE_DAYS: i64 = 7;
/// The cookie of a target.
pub const TARGET_COOKIE: &str = "AWSALB";
/// The cookie of a target under an application's cookie.
pub const APPLICATION_COOKIE: &str = "AWSALBAPP-0";
/// The cookie of a target group.
pub const GROUP_COOKIE: &str = "AWSALBTG";

/// Seals and opens cookies.
pub struct Cookies(LessSafeKey);

impl Cookies {
    /// With a key of 32 bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        match UnboundKey::new(&AES_256_GCM, key) {
            Ok(key) => Self(LessSafeKey::new(key)),
            Err(_) => unreachable!("AES-256 takes 32 bytes"),
        }
    }

    /// Seals `content`, good for `life`, for one `purpose`.
    pub fn seal(
        &self,
        ids: &dyn Ids,
        purpose: &str,
        content: &str,
        now: Timestamp,
        life: Duration,
    ) -> String {
        let mut nonce = [0; NONCE_LEN];
        ids.fill(&mut nonce);
        let ends = now.as_millis().saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        let mut text = format!("{ends}|{content}").into_bytes();
        let sealed = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut text,
        );
        if sealed.is_err() {
            return String::new();
        }
        URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat())
    }

    /// What was sealed, where it was for this purpose and its time is not over.
    pub fn open(&self, purpose: &str, cookie: &str, now: Timestamp) -> Option<String> {
        let mut bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), sealed).ok()?;
        let (ends, content) = std::str::from_utf8(opened).ok()?.split_once('|')?;
        (ends.parse::<i64>().ok()? > now.as_millis()).then(|| content.to_owned())
    }
}

/// The value of a cookie of the request.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Whether an answer sets the cookie called so.
pub fn is_set(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .any(|header| header.split_once('=').is_some_and(|(key, _)| key.trim() == name))
}

/// Adds the cookie, and its twin for requests from other sites.
pub fn set(headers: &mut HeaderMap, name: &str, value: &str, now: Timestamp) {
    let expires = http_date(now.plus_seconds(COOKIE_DAYS * 86_400));
    let twin = match name {
        TARGET_COOKIE => Some("AWSALBCORS"),
        GROUP_COOKIE => Some("AWSALBTGCORS"),
        _ => None,
    };
    let plain = format!("{name}={value}; Expires={expires}; Path=/");
    let other = twin.map(|twin| format!("{twin}={value}; Expires={expires}; Path=/; SameSite=None; Secure"));
    for text in std::iter::once(plain).chain(other) {
        if let Ok(header) = HeaderValue::try_from(text) {
            headers.append(SET_COOKIE, header);
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub fn http_date(at: Timestamp) -> String {
    let seconds = at.as_millis().div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to civil date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0).min(11)];
    format!(
        "{weekday}, {day:02} {month} {year} {:02}:{:02}:{:02} GMT",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::RandomIds;

    #[test]
    fn a_cookie_holds_for_its_time_and_its_purpose_only() {
        let cookies = Cookies::new(&[7; 32]);
        let now = Timestamp::from_millis(1_000_000);
        let sealed = cookies.seal(&RandomIds, "group-a", "10.0.0.1|80", now, Duration::from_secs(60));
        assert_eq!(cookies.open("group-a", &sealed, now).as_deref(), Some("10.0.0.1|80"));
        assert_eq!(cookies.open("group-b", &sealed, now), None);
        assert_eq!(cookies.open("group-a", &sealed, now.plus_seconds(60)), None);
        assert_eq!(Cookies::new(&[8; 32]).open("group-a", &sealed, now), None);
        for wrong in ["", "a", "####", &sealed[..sealed.len() - 1]] {
            assert_eq!(cookies.open("group-a", wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; AWSALB=x=y"));
        headers.append(COOKIE, HeaderValue::from_static("b=2"));
        assert_eq!(value(&headers, "AWSALB"), Some("x=y"));
        assert_eq!(value(&headers, "b"), Some("2"));
        assert_eq!(value(&headers, "c"), None);
    }

    #[test]
    fn dates() {
        assert_eq!(http_date(Timestamp::from_millis(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(Timestamp::from_millis(1_709_164_800_000)), "Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
