//! The sandbox of a unit, out of what `systemctl cat` prints.

/// Settings that are part of a sandbox, beside those that begin as [`FAMILIES`] do.
///
/// Source: systemd.exec(5), "Paths", "User/Group Identity", "Capabilities", "Security",
/// "Sandboxing", "System Call Filtering"; systemd.resource-control(5).
const SETTINGS: [&str; 20] = [
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "DeviceAllow",
    "DevicePolicy",
    "ExecPaths",
    "Group",
    "InaccessiblePaths",
    "IPAddressAllow",
    "IPAddressDeny",
    "KeyringMode",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoExecPaths",
    "NoNewPrivileges",
    "ProcSubset",
    "RemoveIPC",
    "UMask",
    "User",
];

const FAMILIES: [&str; 6] =
    ["Private", "Protect", "ReadOnlyPaths", "ReadWritePaths", "Restrict", "SystemCall"];

/// The sandbox as properties for `systemd-run`, in their order: later ones win or add, as in a unit.
pub(super) fn sandbox(text: &str) -> Vec<String> {
    let mut properties = Vec::new();
    let mut section = String::new();
    for line in joined(text) {
        let line = line.trim();
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=')
            && section == "[Service]"
            && is_sandbox(key.trim())
        {
            properties.push(property(key.trim(), value.trim()));
        }
    }
    properties
}

/// A setting as `systemd-run` takes it.
fn property(key: &str, value: &str) -> String {
    match (key, value) {
        // Over D-Bus the plain one is a boolean, and what came in 257 has a name of its own.
        ("PrivateTmp", "disconnected") => "PrivateTmpEx=disconnected".to_owned(),
        _ => format!("{key}={value}"),
    }
}

/// Lines without comments, those that go on joined as systemd.syntax(7) has it.
fn joined(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(&format!("{part} ")),
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines.extend((!open.is_empty()).then_some(open));
    lines
}

fn is_sandbox(key: &str) -> bool {
    // A restart is not part of it, though its settings begin alike.
    !key.starts_with("Restart")
        && (SETTINGS.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_is_what_counts_and_drop_ins_come_last() {
        let text = "# /usr/lib/systemd/system/x.service\n[Unit]\nProtectSystem=unit\n[Service]\n\
                    Type=notify\nRestart=always\nRestartSec=1s\nUser=somebody\n\
                    CapabilityBoundingSet=\nSystemCallFilter=@system-service\n\
                    SystemCallFilter=~@privileged \\\n  @resources\nProtectSystem=strict\n\
                    [Install]\nWantedBy=x.target\n\n# /etc/x.service.d/10.conf\n[Service]\n\
                    ProtectSystem=no\n";
        assert_eq!(
            sandbox(text),
            [
                "User=somebody",
                "CapabilityBoundingSet=",
                "SystemCallFilter=@system-service",
                "SystemCallFilter=~@privileged    @resources",
                "ProtectSystem=strict",
                "ProtectSystem=no",
            ]
        );
    }
}
