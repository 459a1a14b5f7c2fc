//! [`Plane`]: one life of the control plane, which can end at any moment.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Clock, Ids, Scope};
use bytes::Bytes;
use control::seams::{Seams, ServedElsewhere};
use control::{Control, ControlConfig};
use store::Store;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use wire::{Authentication, Gateway, GatewaySettings, Principal, RootAndNodes};

/// What every life of the control plane has in common: what is on its disk, and the world around it.
#[derive(Clone)]
pub struct Ground {
    /// All rows.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
    /// Account and region.
    pub scope: Scope,
}

/// One life of the control plane: the gateway with its operations, the loops, and the agents' sessions.
pub struct Plane {
    gateway: Arc<Gateway>,
    /// The acting half.
    pub control: Control,
    jobs: Mutex<JoinSet<()>>,
    /// Kept, since the loops end when it goes.
    _stop: watch::Sender<bool>,
}

impl Plane {
    /// Begins a life. `ended` is called if the loops end by themselves, which they never should.
    pub fn start(ground: &Ground, ended: impl FnOnce() + Send + 'static) -> Self {
        let ecs = Arc::new(ecs::Ecs {
            store: ground.store.clone(),
            ids: Arc::clone(&ground.ids),
            config: ecs::EcsConfig::default(),
        });
        let gateway = Gateway::new(GatewaySettings {
            tables: vec![ecs::service(ecs)],
            authentication: Authentication::Any,
            authorizer: Arc::new(RootAndNodes),
            clock: Arc::clone(&ground.clock),
            ids: Arc::clone(&ground.ids),
            default_scope: ground.scope.clone(),
            endpoint: "http://127.0.0.1:4566".to_owned(),
        });
        let control = Control::new(
            ground.store.clone(),
            Arc::clone(&ground.clock),
            Arc::clone(&ground.ids),
            ControlConfig::default(),
        )
        .with_seams(Seams { load_balancing: Arc::new(ServedElsewhere), ..Seams::default() });
        let (stop, stopped) = watch::channel(false);
        let mut jobs = JoinSet::new();
        let loops = control.clone().run(stopped);
        jobs.spawn(async move {
            loops.await;
            ended();
        });
        Self { gateway: Arc::new(gateway), control, jobs: Mutex::new(jobs), _stop: stop }
    }

    fn jobs(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `job` for as long as this life lasts.
    pub fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        let mut jobs = self.jobs();
        while jobs.try_join_next().is_some() {}
        jobs.spawn(job);
    }

    /// One call of the API, as a client makes it. `None`: the control plane died meanwhile, and what was asked for is
    /// done or not.
    pub async fn call(&self, operation: &str, body: String) -> Option<(u16, Bytes)> {
        let request = http::Request::post("/")
            .header("host", "127.0.0.1:4566")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
            .body(Bytes::from(body))
            .ok()?;
        let gateway = Arc::clone(&self.gateway);
        let (reply, answer) = oneshot::channel();
        self.spawn(async move {
            let answer = gateway.call(request, None).await;
            let _ = reply.send((answer.status().as_u16(), answer.into_body()));
        });
        answer.await.ok()
    }

    /// The principal that every agent of a world signs as.
    pub fn principal(scope: &Scope) -> Principal {
        Principal::root(&scope.account, "AKIASIMULATION")
    }

    /// The end, without a warning: whatever was under way stops where it stands.
    pub async fn kill(&self) {
        let mut jobs = std::mem::take(&mut *self.jobs());
        jobs.shutdown().await;
    }
}
