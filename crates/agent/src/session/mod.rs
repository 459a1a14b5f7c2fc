//! The two web sockets to the control plane: ACS for orders, TCS for telemetry.

pub mod acs;
pub mod tcs;

use std::time::Duration;

use api::ecs::DiscoverPollEndpointRequest;
use api::ecs::operations::DiscoverPollEndpoint;
use base::Ids;
use client::{Client, ClientError};
use http::Uri;

/// A connection is given up when nothing that we know has come for this long, up to twice as long. The stock agent's.
pub(crate) const INACTIVITY: Duration = Duration::from_mins(1);
/// A connection ends after this long, and up to five minutes later. The stock agent's.
pub(crate) const CONNECTION_LIFE: Duration = Duration::from_mins(30);
/// Time limit of writing one message.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the web sockets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) acs: String,
    pub(crate) telemetry: String,
}

/// Asks where the web sockets are. Not kept: in `up` the answer costs less than a millisecond, and elsewhere a stale one costs more.
pub(crate) async fn discover(
    client: &Client,
    cluster: &str,
    instance: &str,
) -> Result<Endpoints, ClientError> {
    let request = DiscoverPollEndpointRequest {
        cluster: Some(cluster.to_owned()),
        container_instance: Some(instance.to_owned()),
    };
    let answer = client.call::<DiscoverPollEndpoint>(&request).await?;
    match (answer.endpoint, answer.telemetry_endpoint) {
        (Some(acs), Some(telemetry)) => Ok(Endpoints { acs, telemetry }),
        _ => Err(ClientError::Answer("DiscoverPollEndpoint names no endpoints".to_owned())),
    }
}

/// The web socket's address below a base: `<base>/ws?<query>`.
pub(crate) fn socket_url(base: &str, query: &str) -> Result<Uri, http::uri::InvalidUri> {
    let slash = if base.ends_with('/') { "" } else { "/" };
    format!("{base}{slash}ws?{query}").parse()
}

/// `least` and up to `more` on top of it, at random.
pub(crate) fn jittered(least: Duration, more: Duration, ids: &dyn Ids) -> Duration {
    let mut bytes = [0; 2];
    ids.fill(&mut bytes);
    least + more.mul_f64(f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
}
