//! What the programs of `examples/insurance` share: the tariff, a small HTTP server that ends in order, and a client.

pub mod client;
pub mod identity;
pub mod server;
pub mod tariff;
