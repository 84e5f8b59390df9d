//! What is said when a service fails for good.

use crate::Level;
use crate::service::sandbox;
use crate::suite::{OVERVIEW, documentation};
use crate::unit_file::UnitFile;

/// The template's file name.
pub(crate) const FILE_NAME: &str = "marketprism-alert@.service";

/// What every service has as `OnFailure=`: the instance is the unit that failed.
pub(crate) fn on_failure() -> &'static str {
    "marketprism-alert@%n.service"
}

/// Renders the template that systemd starts when a service has failed and is not started again.
///
/// What happened is in `$MONITOR_*`, which systemd sets since 251 (systemd.exec(5)). A second command
/// can be added in a drop-in, to send a mail or call a pager.
pub(crate) fn render(level: Level) -> String {
    let mut unit = UnitFile::new("marketprism-alert@");
    unit.section("Unit");
    unit.set("Description", "MarketPrism report of the failure of %i");
    unit.set("Documentation", documentation(OVERVIEW));
    unit.set("CollectMode", "inactive-or-failed");
    unit.section("Service");
    unit.set("Type", "oneshot");
    unit.set("ExecStart", "/usr/bin/marketprism report-failure %i");
    unit.set("SyslogIdentifier", "marketprism-alert");
    unit.set("DynamicUser", "yes");
    unit.set("Slice", "marketprism.slice");
    unit.set("TasksMax", 64);
    sandbox(&mut unit, level);
    unit.set("PrivateNetwork", "yes");
    unit.finish()
}
