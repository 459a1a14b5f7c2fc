//! The backend: quotes under `/api`, and a line for each in the audit file that the sidecar reads.

use std::path::PathBuf;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use insurance::client::Client;
use insurance::identity::task_id;
use insurance::server::{Answer, answer, json, log, serve};
use insurance::tariff::{Question, Quote};
use serde_json::json as value;
use tokio::io::AsyncWriteExt as _;

struct Backend {
    task: String,
    version: String,
    audit: Option<PathBuf>,
}

impl Backend {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/health") => {
                json(StatusCode::OK, &value!({"status": "ok", "task": self.task, "version": self.version}))
            }
            (&Method::GET, "/api/quotes") => self.quote(request.uri().query().unwrap_or_default()).await,
            (_, "/api/health" | "/api/quotes") => {
                answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n")
            }
            _ => json(StatusCode::NOT_FOUND, &value!({"error": "there are /api/health and /api/quotes"})),
        }
    }

    async fn quote(&self, query: &str) -> Answer {
        let question = match Question::parse(query) {
            Ok(question) => question,
            Err(refused) => return json(StatusCode::BAD_REQUEST, &value!({"error": refused.0})),
        };
        let quote = Quote {
            product: question.product,
            premium_cents: question.premium_cents(),
            served_by: self.task.clone(),
            version: self.version.clone(),
        };
        if let Some(path) = &self.audit {
            let line = format!("{}\n", value!({"age": question.age, "sum": question.sum, "quote": quote}));
            if let Err(error) = append(path, &line).await {
                log(&format!("backend: {}: {error}", path.display()));
                return json(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &value!({"error": "a quote that is not on record is not given"}),
                );
            }
        }
        json(StatusCode::OK, &quote)
    }
}

async fn append(path: &PathBuf, line: &str) -> std::io::Result<()> {
    let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
    // One write of a short line to a file opened for appending is not torn apart by others.
    file.write_all(line.as_bytes()).await?;
    file.flush().await
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let backend = Arc::new(Backend {
        task: task_id(&Client::default()).await,
        version: std::env::var("VERSION").unwrap_or_else(|_| "1".to_owned()),
        audit: std::env::var_os("AUDIT_FILE").map(PathBuf::from),
    });
    log(&format!("backend: version {} in task {}", backend.version, backend.task));
    serve("backend", move |request| Arc::clone(&backend).handle(request)).await
}
