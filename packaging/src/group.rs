//! What holds the services together: the target, the slice, the gateway's socket.

use crate::suite::{OVERVIEW, Service, documentation};
use crate::unit_file::UnitFile;

/// Renders `marketprism.target`, which starts and stops the suite.
///
/// Members want themselves into it when they are enabled; it requires none of them, so one that fails
/// takes nothing down.
pub(crate) fn target() -> String {
    let mut unit = UnitFile::new("marketprism.target");
    unit.section("Unit");
    unit.set("Description", "MarketPrism, market data recorder and server");
    unit.set("Documentation", documentation(OVERVIEW));
    unit.section("Install");
    unit.set("WantedBy", "multi-user.target");
    unit.finish()
}

/// Renders `marketprism.slice`, the suite's share of the host.
pub(crate) fn slice() -> String {
    let mut unit = UnitFile::new("marketprism.slice");
    unit.section("Unit");
    unit.set("Description", "MarketPrism services");
    unit.set("Documentation", documentation(OVERVIEW));
    unit.section("Slice");
    unit.comment("Above this the suite is slowed down, so that a person can still log in.");
    unit.set("MemoryHigh", "75%");
    unit.finish()
}

/// Renders the socket that systemd holds for a service.
pub(crate) fn socket(service: &Service) -> String {
    let mut unit = UnitFile::new(&format!("{}.socket", service.unit()));
    unit.section("Unit");
    unit.set("Description", format_args!("MarketPrism {} socket", service.summary));
    unit.set("Documentation", documentation(&service.page()));
    unit.set("PartOf", "marketprism.target");
    unit.section("Socket");
    unit.set("ListenStream", format_args!("127.0.0.1:{}", service.port));
    unit.set("FileDescriptorName", "http");
    unit.set("Slice", "marketprism.slice");
    unit.section("Install");
    unit.set("WantedBy", "marketprism.target");
    unit.finish()
}
