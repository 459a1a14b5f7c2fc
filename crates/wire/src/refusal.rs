//! The faults that the gateway itself answers with, in each protocol's own codes and words.

use crate::call::{Permission, Principal};
use crate::fault::Fault;
use crate::route::Route;
use crate::schema::Protocol;
use crate::shape::DecodeError;
use crate::sigv4::Refusal;

/// Nobody knows the operation.
pub fn unknown_operation(route: &Route<'_>) -> Fault {
    // A name that is no plain word is not repeated.
    let name = route.operation.as_deref().unwrap_or_default();
    let plain = name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let name = if plain { name } else { "" };
    match route.protocol {
        Protocol::Ec2Query if name.is_empty() => missing_action(),
        Protocol::Ec2Query => {
            let text = format!("The action {name} is not valid for this web service.");
            Fault::new("InvalidAction", text, 400)
        }
        Protocol::AwsQuery if name.is_empty() => missing_action(),
        Protocol::AwsQuery => {
            let version = route.table.map(|table| table.schema().api_version).unwrap_or_default();
            Fault::new("InvalidAction", format!("Could not find operation {name} for version {version}"), 400)
        }
        Protocol::RestJson | Protocol::RestXml | Protocol::RpcV2Cbor => {
            Fault::new("UnknownOperationException", "The requested operation is not known.", 404)
        }
        Protocol::AwsJson10 | Protocol::AwsJson11 => {
            Fault::new("UnknownOperationException", "The requested operation is not known.", 400)
        }
    }
}

fn missing_action() -> Fault {
    Fault::new("MissingAction", "The request must contain the parameter Action", 400)
}

/// AWS has the operation, we do not.
pub fn not_implemented(name: &str) -> Fault {
    let text = format!("{name} is not implemented by Roadstead yet; docs/coverage.md lists what is");
    Fault::new("NotImplementedException", text, 501)
}

/// The request cannot be read.
pub fn serialization(protocol: Protocol, error: &DecodeError) -> Fault {
    match protocol {
        Protocol::AwsQuery => Fault::new("MalformedInput", error.0.as_str(), 400),
        Protocol::Ec2Query => Fault::new("InvalidParameterValue", error.0.as_str(), 400),
        _ => Fault::new("SerializationException", error.0.as_str(), 400),
    }
}

/// The caller may not do that.
pub fn access_denied(protocol: Protocol, principal: &Principal, denied: &Permission) -> Fault {
    let Permission { action, resource, .. } = denied;
    let text = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
         allows the {action} action",
        principal.arn
    );
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 => Fault::new("AccessDeniedException", text, 400),
        Protocol::AwsQuery => Fault::new("AccessDenied", text, 403),
        Protocol::Ec2Query => Fault::new("UnauthorizedOperation", text, 403),
        Protocol::RestJson | Protocol::RestXml | Protocol::RpcV2Cbor => {
            Fault::new("AccessDeniedException", text, 403)
        }
    }
}

/// A browser asks on behalf of a page of another site.
pub fn another_site(protocol: Protocol) -> Fault {
    let text = "Requests from the pages of other sites are refused while signatures are not asked for";
    match protocol {
        Protocol::AwsQuery | Protocol::Ec2Query => Fault::new("AccessDenied", text, 403),
        _ => Fault::new("AccessDeniedException", text, 403),
    }
}

/// The signature is not accepted.
pub fn signature(protocol: Protocol, refusal: &Refusal) -> Fault {
    let text = refusal.to_string();
    let json_status = if matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11) { 400 } else { 403 };
    match protocol {
        Protocol::Ec2Query => match refusal {
            Refusal::Missing => {
                Fault::new("MissingParameter", "The request must contain the parameter AWSAccessKeyId", 400)
            }
            Refusal::Incomplete(_) => Fault::new("IncompleteSignature", text, 400),
            Refusal::UnknownKey => {
                Fault::new("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
            }
            Refusal::Mismatch | Refusal::Scope(_) => Fault::new("SignatureDoesNotMatch", text, 403),
            Refusal::Expired(_) => Fault::new("RequestExpired", "Request has expired.", 400),
        },
        Protocol::AwsQuery => match refusal {
            Refusal::Missing => {
                Fault::new("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
            }
            Refusal::Incomplete(_) => Fault::new("IncompleteSignature", text, 400),
            Refusal::UnknownKey => Fault::new("InvalidClientTokenId", text, 403),
            Refusal::Mismatch | Refusal::Scope(_) | Refusal::Expired(_) => {
                Fault::new("SignatureDoesNotMatch", text, 403)
            }
        },
        _ => match refusal {
            Refusal::Missing => Fault::new("MissingAuthenticationTokenException", text, json_status),
            Refusal::Incomplete(_) => Fault::new("IncompleteSignatureException", text, json_status),
            Refusal::UnknownKey => Fault::new("UnrecognizedClientException", text, json_status),
            Refusal::Mismatch | Refusal::Scope(_) | Refusal::Expired(_) => {
                Fault::new("InvalidSignatureException", text, json_status)
            }
        },
    }
}
