//! Calls and web sockets against a server in this process: signed so that `wire` accepts them, retried, bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::ecs::operations::ListClusters;
use api::ecs::{ListClustersRequest, ListClustersResponse};
use base::{AccountId, Clock, RandomIds, SystemClock};
use bytes::Bytes;
use client::websocket::{self, ConnectError};
use client::{Client, ClientConfig, ClientError, RESPONSE_BYTES_MAXIMUM, RetryPolicy, SecretKey, SigningKey};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wire::Principal;
use wire::sigv4::{Credentials, KnownKey};

struct Keys;

impl Credentials for Keys {
    fn lookup(&self, access_key_id: &str) -> Option<KnownKey> {
        let account: AccountId = "000000000000".parse().unwrap();
        (access_key_id == "AKIDEXAMPLE").then(|| KnownKey {
            secret_access_key: SecretKey::new("secret"),
            session_token: None,
            principal: Principal::root(&account, access_key_id),
        })
    }
}

/// A server whose `answer` is told how many requests came before; refuses what is not signed well.
async fn serve(answer: impl Fn(usize) -> (u16, String) + Send + Sync + 'static) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (count, answer) = (Arc::clone(&counted), Arc::clone(&answer));
            let service = service_fn(move |request: Request<Incoming>| {
                let (count, answer) = (Arc::clone(&count), Arc::clone(&answer));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let verified = wire::sigv4::verify(&parts, &body, &Keys, SystemClock.now());
                    let (status, body) = match verified {
                        Ok(verified) => {
                            assert_eq!(
                                (verified.aws_service.as_str(), verified.region.as_str()),
                                ("ecs", "eu-west-1")
                            );
                            answer(count.fetch_add(1, Ordering::SeqCst))
                        }
                        Err(refusal) => (403, format!(r#"{{"__type":"Refused","message":"{refusal}"}}"#)),
                    };
                    let mut response = Response::new(Full::new(Bytes::from(body)));
                    *response.status_mut() = status.try_into().unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (port, count)
}

fn config(port: u16, secret: &str) -> ClientConfig {
    let key = SigningKey {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: SecretKey::new(secret),
        session_token: None,
    };
    ClientConfig {
        endpoint: format!("http://127.0.0.1:{port}").parse().unwrap(),
        region: "us-east-1".to_owned(),
        credentials: Arc::new(key),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    }
}

fn client(port: u16) -> Client {
    Client::new(config(port, "secret")).with_region("eu-west-1")
}

fn quickly() -> RetryPolicy {
    RetryPolicy {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(2),
        ..RetryPolicy::default()
    }
}

#[tokio::test]
async fn a_call_is_signed_and_its_answer_read() {
    let (port, _) = serve(|_| (200, r#"{"clusterArns":["a"],"unknown":1}"#.to_owned())).await;
    let answer: ListClustersResponse =
        client(port).call::<ListClusters>(&ListClustersRequest::default()).await.unwrap();
    assert_eq!(answer.cluster_arns, Some(vec!["a".to_owned()]));
    let wrong = Client::new(config(port, "wrong")).with_region("eu-west-1");
    let refused = wrong.call::<ListClusters>(&ListClustersRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Some("Refused"));
    assert!(!refused.is_retryable());
    assert!(!format!("{:?}", wrong.config().credentials).contains("wrong"), "the secret is not shown");
}

#[tokio::test]
async fn throttling_and_5xx_are_tried_again_and_faults_are_not() {
    let (port, count) = serve(|before| match before {
        0 => (503, String::new()),
        1 => (400, r#"{"__type":"ThrottlingException"}"#.to_owned()),
        _ => (200, "{}".to_owned()),
    })
    .await;
    let call = |port: u16| async move {
        client(port).call_with_retry::<ListClusters>(&ListClustersRequest::default(), quickly()).await
    };
    call(port).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let (port, count) =
        serve(|_| (400, r#"{"__type":"InvalidParameterException","message":"m"}"#.to_owned())).await;
    assert_eq!(call(port).await.unwrap_err().to_string(), "InvalidParameterException: m");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let (port, count) = serve(|_| (500, String::new())).await;
    call(port).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 3, "not for ever");
}

#[tokio::test]
async fn an_answer_without_end_and_no_answer_are_errors() {
    let (port, _) = serve(|_| (200, " ".repeat(RESPONSE_BYTES_MAXIMUM + 1))).await;
    let error = client(port).call::<ListClusters>(&ListClustersRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport(_)), "{error:?}");
    let (port, _) = serve(|_| (200, r#"{"clusterArns":"no list"}"#.to_owned())).await;
    let error = client(port).call::<ListClusters>(&ListClustersRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Answer(_)), "{error:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = client(free).call::<ListClusters>(&ListClustersRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport(_)) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_refused_web_socket_tells_why() {
    let (port, _) =
        serve(|_| (400, r#"{"type":"InactiveInstanceException","message":{"message":"gone"}}"#.to_owned()))
            .await;
    let mut config = config(port, "secret");
    config.region = "eu-west-1".to_owned();
    let connect = |url: String| {
        let config = config.clone();
        async move { websocket::connect(&url.parse().unwrap(), "ecs", &config).await.unwrap_err() }
    };
    let refused = connect(format!("http://127.0.0.1:{port}/ws?a=b%20c")).await;
    assert!(
        matches!(&refused, ConnectError::Refused { status: 400, code, message } if code == "InactiveInstanceException" && message == "gone"),
        "{refused:?}"
    );
    for bad in ["https://127.0.0.1/ws", "/ws"] {
        assert!(matches!(connect(bad.to_owned()).await, ConnectError::Address(_)), "{bad}");
    }
}
