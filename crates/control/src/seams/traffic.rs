//! Traffic weights: wished in `Service::revisions`, made true by whoever owns the listeners.

use domain::Service;

/// Who shifts traffic.
pub trait Traffic: Send + Sync + 'static {
    /// Whether the weights that `service.revisions` wish (production and test, in tenths of a percent) are the ones that
    /// requests are routed by. Asked again and again until it is so; must not block.
    fn holds(&self, service: &Service) -> bool;
}

/// A region without a load balancer: nobody routes by weights, so that they hold at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbalanced;

impl Traffic for Unbalanced {
    fn holds(&self, _service: &Service) -> bool {
        true
    }
}
