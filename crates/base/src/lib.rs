//! Floor 0: the small types that every other crate speaks in.
//!
//! Nothing here knows an AWS service. Besides `server`, this is the only crate that reads a clock
//! ([`SystemClock`]) or a random source ([`RandomIds`]); everyone else is handed a [`Clock`] or [`Ids`].

mod arn;
mod clock;
mod ids;
pub mod kernel;
pub mod limits;
mod names;
mod net;
mod page;
mod tag;

pub use arn::{Arn, ArnError};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use ids::{Ids, RandomIds, SeededIds};
pub use names::{AccountId, NameError, Region, Scope};
pub use net::{Ipv4Cidr, Ipv6Cidr, MacAddress, NetError};
pub use page::{PageToken, PageTokenError};
pub use tag::Tag;
