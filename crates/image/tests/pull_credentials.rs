//! To whom a pull shows its credentials: token servers and redirects, honest and hostile (attacks A10).

mod support;

use image::{Digest, PullErrorKind, RegistryAuth};
use support::pulling::{Bench, failing, kind, sample};
use support::registry::{Served, Server, ranged, reply};

/// A registry that wants a token from a server of another origin, which wants `credentials` if any.
async fn token_bench(served: &Served, credentials: Option<&'static str>) -> (Server, Server) {
    let tokens = Server::start("127.0.0.3", move |asked| {
        if credentials.is_some() && asked.header("authorization") != credentials {
            return reply(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}"#);
        }
        reply(200, r#"{"token":"t0ken","expires_in":300}"#)
    })
    .await;
    let (served, realm) = (served.clone(), tokens.address);
    let registry = Server::start("127.0.0.1", move |asked| {
        if asked.header("authorization") == Some("Bearer t0ken") {
            return served.answer(asked);
        }
        let challenge = format!(
            r#"Bearer realm="http://{realm}/token?a=b",service="reg istry",scope="registry:catalog:*""#
        );
        reply(401, "").header("www-authenticate", challenge)
    })
    .await;
    (registry, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_for_this_repository_only() {
    let served = sample();
    let (registry, tokens) = token_bench(&served, None).await;
    Bench::new().pull(&registry).await.unwrap();
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "one token serves a pull: {asked:?}");
    assert_eq!(asked[0].path, "/token?a=b&service=reg%20istry&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_to_the_token_server_and_not_to_the_registry() {
    let served = sample();
    // user:pass
    let (registry, tokens) = token_bench(&served, Some("Basic dXNlcjpwYXNz")).await;
    let auth = RegistryAuth::Basic { username: "user".into(), password: "pass".into() };
    Bench::new().pull_as(&registry, &auth).await.unwrap();
    assert_eq!(tokens.asked().len(), 1);
    for asked in registry.asked() {
        assert!(!asked.header("authorization").unwrap_or_default().starts_with("Basic"), "{asked:?}");
    }
    let wrong = RegistryAuth::Basic { username: "user".into(), password: "hunter2".into() };
    let error = Bench::new().pull_as(&registry, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), PullErrorKind::Unauthorized);
    assert!(
        error.to_string().contains("wrong password") && !error.to_string().contains("hunter2"),
        "{error}"
    );
    assert_eq!(kind(Bench::new().pull(&registry).await), PullErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_authentication_only_after_a_challenge() {
    let served = sample();
    let registry = {
        let served = served.clone();
        Server::start("127.0.0.1", move |asked| match asked.header("authorization") {
            Some("Basic dXNlcjpwYXNz") => served.answer(asked),
            _ => reply(401, "").header("www-authenticate", r#"Basic realm="x""#),
        })
        .await
    };
    let auth = RegistryAuth::Basic { username: "user".into(), password: "pass".into() };
    Bench::new().pull_as(&registry, &auth).await.unwrap();
    assert_eq!(registry.asked()[0].header("authorization"), None);
    let wrong = RegistryAuth::Basic { username: "user".into(), password: "nope".into() };
    assert_eq!(kind(Bench::new().pull_as(&registry, &wrong).await), PullErrorKind::Unauthorized);
    assert_eq!(kind(Bench::new().pull(&registry).await), PullErrorKind::Unauthorized);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_hostile_token_servers_are_refused() {
    let challenges = [
        r#"Bearer realm="http://10.255.255.1/token""#.to_owned(),
        r#"Bearer realm="file:///etc/passwd""#.to_owned(),
        r#"Bearer realm="http://user@""#.to_owned(),
        r#"Bearer realm=""#.to_owned(),
    ];
    for challenge in challenges {
        let registry =
            Server::start("127.0.0.1", move |_| reply(401, "").header("www-authenticate", &challenge)).await;
        let error = Bench::new().pull(&registry).await.unwrap_err();
        assert!(matches!(error.kind(), PullErrorKind::Registry | PullErrorKind::Unauthorized), "{error}");
    }
    for answer in [r#"{"token":"a\r\nx-evil: 1"}"#, r#"{"token":""}"#, "{}", "secret-but-not-json", "[1]"] {
        let tokens = Server::start("127.0.0.1", move |_| reply(200, answer)).await;
        let realm = format!(r#"Bearer realm="http://{}/t""#, tokens.address);
        let registry =
            Server::start("127.0.0.1", move |_| reply(401, "").header("www-authenticate", &realm)).await;
        let error = Bench::new().pull(&registry).await.unwrap_err();
        assert_eq!(error.kind(), PullErrorKind::Registry, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let endless = Server::start("127.0.0.1", |_| {
        let mut answer = reply(200, vec![b' '; 64 << 10]);
        (answer.length, answer.endless) = (Some(1 << 40), true);
        answer
    })
    .await;
    let realm = format!(r#"Bearer realm="http://{}/t""#, endless.address);
    let registry =
        Server::start("127.0.0.1", move |_| reply(401, "").header("www-authenticate", &realm)).await;
    assert_eq!(kind(Bench::new().pull(&registry).await), PullErrorKind::Limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_redirect_to_another_host_gets_no_credentials() {
    let served = sample();
    let (registry, tokens) = token_bench(&served, None).await;
    let storage = {
        let served = served.clone();
        Server::start("127.0.0.2", move |asked| {
            let digest = asked.path.trim_start_matches("/storage/");
            let all = served.layers.iter().chain([&served.config]);
            let found = all.into_iter().find(|blob| Digest::of(blob).to_string() == digest);
            found.map_or_else(|| reply(404, ""), |blob| ranged(blob, asked))
        })
        .await
    };
    let front = {
        let (served, storage, realm) = (served.clone(), storage.address, tokens.address);
        Server::start("127.0.0.1", move |asked| {
            if asked.header("authorization") != Some("Bearer t0ken") {
                let challenge = format!(r#"Bearer realm="http://{realm}/t""#);
                return reply(401, "").header("www-authenticate", challenge);
            }
            match asked.path.split_once("/blobs/") {
                Some((_, digest)) => {
                    reply(307, "").header("location", format!("http://{storage}/storage/{digest}"))
                }
                None => served.answer(asked),
            }
        })
        .await
    };
    drop(registry);
    let image = Bench::new().pull(&front).await.unwrap();
    assert_eq!(image.manifest_digest, served.digest().to_string());
    let asked = storage.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
    assert!(front.asked().iter().filter(|asked| asked.header("authorization").is_some()).count() >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_redirects_out_of_tls_or_in_circles_are_refused() {
    let served = sample();
    for location in [
        "http://10.255.255.1/x",
        "http://169.254.169.254/latest/meta-data",
        "gopher://x",
        "//10.255.255.1/x",
        "",
        "/v2/again",
    ] {
        let server = failing(
            &served,
            usize::MAX,
            |asked| asked.path.contains("/blobs/") || asked.path.contains("again"),
            move |_, _| reply(302, "").header("location", location),
        )
        .await;
        let bench = Bench::new();
        assert_eq!(kind(bench.pull(&server).await), PullErrorKind::Registry, "{location}");
        assert!(server.asked().len() < 12, "{location}: {}", server.asked().len());
        bench.assert_empty();
    }
}
