//! The frontend: a page at `/` with quotes that it asks the backend for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use insurance::client::Client;
use insurance::identity::task_id;
use insurance::server::{Answer, answer, log, serve};
use insurance::tariff::{Product, Question, Quote};

/// The longest that one question to the backend may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(3);

struct Frontend {
    task: String,
    backend: String,
    client: Client,
}

impl Frontend {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/") => self.page(request.uri().query().unwrap_or_default()).await,
            (&Method::GET, "/health") => answer(StatusCode::OK, "text/plain", "ok\n"),
            _ => answer(StatusCode::NOT_FOUND, "text/plain", "there is nothing here\n"),
        }
    }

    async fn page(&self, query: &str) -> Answer {
        let (age, sum) = match Question::parse(&format!("product=car&{query}")) {
            Ok(question) => (question.age, question.sum),
            Err(_) => (35, 20_000),
        };
        let mut rows = String::new();
        let mut status = StatusCode::OK;
        for product in Product::ALL {
            match self.quote(product, age, sum).await {
                Ok(quote) => {
                    let (units, cents) = (quote.premium_cents / 100, quote.premium_cents % 100);
                    let _ = write!(
                        rows,
                        "<tr><td>{}<td>{units}.{cents:02} a year<td>task {} (version {})",
                        product.word(),
                        escape(&quote.served_by),
                        escape(&quote.version)
                    );
                }
                Err(error) => {
                    log(&format!("frontend: {error}"));
                    status = StatusCode::BAD_GATEWAY;
                    let _ = write!(rows, "<tr><td>{}<td colspan=2>no quote just now", product.word());
                }
            }
        }
        let page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Insurance</title>\
             <style>body{{font:16px sans-serif;margin:3em;max-width:50em}}td{{padding:.3em 1.5em .3em 0}}</style>\
             <h1>Insurance</h1><p>What it costs to insure {sum} at the age of {age}:</p><table>{rows}</table>\
             <form>Age <input name=age type=number min=18 max=99 value={age}> Sum \
             <input name=sum type=number min=1000 max=2000000 value={sum}> <button>Ask</button></form>\
             <p><small>This page was made by task {}.</small></p></html>\n",
            escape(&self.task)
        );
        answer(status, "text/html; charset=utf-8", page)
    }

    async fn quote(&self, product: Product, age: u64, sum: u64) -> Result<Quote, String> {
        let url = format!("{}/api/quotes?product={}&age={age}&sum={sum}", self.backend, product.word());
        let body = self.client.get(&url, QUESTION_TIMEOUT).await?;
        serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let client = Client::default();
    let backend =
        std::env::var("BACKEND_URL").unwrap_or_else(|_| "http://backend.insurance.local:8080".to_owned());
    let frontend = Arc::new(Frontend { task: task_id(&client).await, backend, client });
    log(&format!("frontend: in task {}, asks {}", frontend.task, frontend.backend));
    serve("frontend", move |request| Arc::clone(&frontend).handle(request)).await
}
