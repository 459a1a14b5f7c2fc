//! What the agent needs of the crates that act on the machine, as traits: tests put something else in their place.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use engine::{
    ContainerId, ContainerSpec, ContainerStatus, Created, Engine, EngineError, ExecResult, ExecSpec, Exit,
    Signal, Started, Stats, TaskGroup, TaskGroupHandle,
};
use image::{Image, ImageError, ImageStore, Platform, Progress, PullError, Reference, RegistryAuth};
use network::{
    Attachment, ContainerNetwork, HostPort, Network, NetworkError, PortWish, PublicAddress, PublishedPorts,
    SecurityGroupChange, SecurityGroupPolicy, TaskNetwork, VpcNetwork,
};

/// A boxed future, so that the traits can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs containers; [`Engine`] does. The methods are the engine's own.
#[allow(missing_docs)]
pub trait ContainerEngine: Send + Sync + 'static {
    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>>;
    fn recreate(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>>;
    fn start<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Started, EngineError>>;
    fn wait<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Exit, EngineError>>;
    fn stop<'a>(
        &'a self,
        id: &'a ContainerId,
        signal: Option<Signal>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Exit, EngineError>>;
    fn delete<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<(), EngineError>>;
    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerStatus>, EngineError>>;
    fn exec<'a>(
        &'a self,
        id: &'a ContainerId,
        spec: ExecSpec,
    ) -> BoxFuture<'a, Result<ExecResult, EngineError>>;
    fn stats<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Stats, EngineError>>;
    fn create_task_group(&self, group: TaskGroup) -> BoxFuture<'_, Result<TaskGroupHandle, EngineError>>;
    fn delete_task_group<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<(), EngineError>>;
    fn prepare_volume(
        &self,
        directory: PathBuf,
        lower_directories: Vec<PathBuf>,
        destination: PathBuf,
    ) -> BoxFuture<'_, Result<(), EngineError>>;
}

impl ContainerEngine for Engine {
    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>> {
        Box::pin(self.create(spec))
    }
    fn recreate(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>> {
        Box::pin(self.recreate(spec))
    }
    fn start<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Started, EngineError>> {
        Box::pin(self.start(id))
    }
    fn wait<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Exit, EngineError>> {
        Box::pin(self.wait(id))
    }
    fn stop<'a>(
        &'a self,
        id: &'a ContainerId,
        signal: Option<Signal>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Exit, EngineError>> {
        Box::pin(self.stop(id, signal, timeout))
    }
    fn delete<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.delete(id))
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<ContainerStatus>, EngineError>> {
        Box::pin(self.list())
    }
    fn exec<'a>(
        &'a self,
        id: &'a ContainerId,
        spec: ExecSpec,
    ) -> BoxFuture<'a, Result<ExecResult, EngineError>> {
        Box::pin(self.exec(id, spec))
    }
    fn stats<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<Stats, EngineError>> {
        Box::pin(self.stats(id))
    }
    fn create_task_group(&self, group: TaskGroup) -> BoxFuture<'_, Result<TaskGroupHandle, EngineError>> {
        Box::pin(self.create_task_group(group))
    }
    fn delete_task_group<'a>(&'a self, id: &'a ContainerId) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(self.delete_task_group(id))
    }
    fn prepare_volume(
        &self,
        directory: PathBuf,
        lower_directories: Vec<PathBuf>,
        destination: PathBuf,
    ) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(self.prepare_volume(directory, lower_directories, destination))
    }
}

/// Gives tasks their network; [`Network`] does. The methods are the network's own.
#[allow(missing_docs)]
pub trait TaskNetworking: Send + Sync + 'static {
    fn ensure_vpc(&self, vpc: VpcNetwork) -> BoxFuture<'_, Result<(), NetworkError>>;
    fn attach(&self, attachment: Attachment) -> BoxFuture<'_, Result<TaskNetwork, NetworkError>>;
    fn attach_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<ContainerNetwork, NetworkError>>;
    fn publish(
        &self,
        id: &str,
        wishes: &[PortWish],
        avoid: &BTreeSet<HostPort>,
    ) -> Result<Vec<PublishedPorts>, NetworkError>;
    fn published(&self, id: &str) -> Vec<PublishedPorts>;
    fn detach<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), NetworkError>>;
    fn sweep<'a>(&'a self, keep: &'a HashSet<String>) -> BoxFuture<'a, Result<(), NetworkError>>;
    fn attachment_of(&self, address: IpAddr) -> Option<String>;
    fn metadata_address(&self) -> Ipv4Addr;
    fn serve_metadata(&self, endpoint: Option<SocketAddrV4>) -> Result<(), NetworkError>;
    fn apply_security_groups(&self, policy: &SecurityGroupPolicy) -> Result<(), NetworkError>;
    fn change_security_groups(&self, change: &SecurityGroupChange) -> Result<(), NetworkError>;
    fn has_security_groups(&self, address: IpAddr) -> bool;
    fn apply_public_addresses(
        &self,
        wanted: BTreeMap<Ipv4Addr, PublicAddress>,
    ) -> BoxFuture<'_, Result<(), NetworkError>>;
    fn change_public_addresses(
        &self,
        changes: BTreeMap<Ipv4Addr, Option<PublicAddress>>,
    ) -> BoxFuture<'_, Result<(), NetworkError>>;
}

impl TaskNetworking for Network {
    fn ensure_vpc(&self, vpc: VpcNetwork) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.ensure_vpc(vpc))
    }
    fn attach(&self, attachment: Attachment) -> BoxFuture<'_, Result<TaskNetwork, NetworkError>> {
        Box::pin(self.attach(attachment))
    }
    fn attach_container<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<ContainerNetwork, NetworkError>> {
        Box::pin(self.attach_container(id))
    }
    fn publish(
        &self,
        id: &str,
        wishes: &[PortWish],
        avoid: &BTreeSet<HostPort>,
    ) -> Result<Vec<PublishedPorts>, NetworkError> {
        self.publish(id, wishes, avoid)
    }
    fn published(&self, id: &str) -> Vec<PublishedPorts> {
        self.published(id)
    }
    fn detach<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(self.detach(id))
    }
    fn sweep<'a>(&'a self, keep: &'a HashSet<String>) -> BoxFuture<'a, Result<(), NetworkError>> {
        Box::pin(self.sweep(keep))
    }
    fn attachment_of(&self, address: IpAddr) -> Option<String> {
        match address {
            IpAddr::V4(address) => self.attachment_of(address),
            IpAddr::V6(_) => None,
        }
    }
    fn metadata_address(&self) -> Ipv4Addr {
        self.metadata_address()
    }
    fn serve_metadata(&self, endpoint: Option<SocketAddrV4>) -> Result<(), NetworkError> {
        self.serve_metadata(endpoint)
    }
    fn apply_security_groups(&self, policy: &SecurityGroupPolicy) -> Result<(), NetworkError> {
        self.apply_security_groups(policy)
    }
    fn change_security_groups(&self, change: &SecurityGroupChange) -> Result<(), NetworkError> {
        self.change_security_groups(change)
    }
    fn has_security_groups(&self, address: IpAddr) -> bool {
        self.has_security_groups(address)
    }
    fn apply_public_addresses(
        &self,
        wanted: BTreeMap<Ipv4Addr, PublicAddress>,
    ) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(self.apply_public_addresses(wanted))
    }
    fn change_public_addresses(
        &self,
        changes: BTreeMap<Ipv4Addr, Option<PublicAddress>>,
    ) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move { self.change_public_addresses(&changes).await })
    }
}

/// Holds images; [`ImageStore`] does. The methods are the store's own; the synchronous ones may read the disk.
#[allow(missing_docs)]
pub trait ImageSource: Send + Sync + 'static {
    fn find(&self, reference: &str) -> Result<Option<Image>, ImageError>;
    fn pull<'a>(
        &'a self,
        reference: &'a Reference,
        auth: &'a RegistryAuth,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, PullError>>;
    fn lease(&self, image: &Image, holder: &str) -> Result<(), ImageError>;
    fn release(&self, holder: &str) -> Result<(), ImageError>;
    fn lower_directories(&self, image: &Image) -> Result<Vec<PathBuf>, ImageError>;
    fn collect_garbage(&self) -> Result<(), ImageError>;
}

impl ImageSource for ImageStore {
    fn find(&self, reference: &str) -> Result<Option<Image>, ImageError> {
        self.find(reference)
    }
    fn pull<'a>(
        &'a self,
        reference: &'a Reference,
        auth: &'a RegistryAuth,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<Image, PullError>> {
        Box::pin(async move { self.pull(reference, auth, &Platform::host(), progress).await })
    }
    fn lease(&self, image: &Image, holder: &str) -> Result<(), ImageError> {
        self.lease(image, holder).map(drop)
    }
    fn release(&self, holder: &str) -> Result<(), ImageError> {
        self.release(holder)
    }
    fn lower_directories(&self, image: &Image) -> Result<Vec<PathBuf>, ImageError> {
        self.lower_directories(image)
    }
    fn collect_garbage(&self) -> Result<(), ImageError> {
        self.collect_garbage().map(drop)
    }
}
