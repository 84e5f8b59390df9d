//! Service units: one per service, and a template where a service may have further instances.

use crate::Level;
use crate::alert;
use crate::suite::{
    BusUsers, CONFIGURATION, GROUP, Perseverance, Program, STARTS_MAX, STARTS_MINUTES,
    STOP_SECONDS, Service, daemons, documentation,
};
use crate::unit_file::UnitFile;

/// Which of a service's units is rendered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The service itself.
    Single,
    /// The template of its further instances, `marketprism-<name>@.service`.
    Template,
}

impl Form {
    /// `plain` for the service itself, `plain` with the instance's name for the template.
    fn name(self, plain: &str) -> String {
        match self {
            Form::Single => plain.to_owned(),
            Form::Template => format!("{plain}-%i"),
        }
    }
}

/// The file name of a service's unit.
pub(crate) fn file_name(service: &Service, form: Form) -> String {
    match form {
        Form::Single => format!("{}.service", service.unit()),
        Form::Template => format!("{}@.service", service.unit()),
    }
}

/// Renders a service's unit.
pub(crate) fn render(service: &Service, form: Form, level: Level) -> String {
    let mut unit = UnitFile::new(file_name(service, form).trim_end_matches(".service"));
    unit_section(&mut unit, service, form);
    unit.section("Service");
    program(&mut unit, service, form);
    lifetime(&mut unit, service, level);
    identity(&mut unit, service, form);
    resources(&mut unit, service, form);
    sandbox(&mut unit, level);
    unit.section("Install");
    unit.set("WantedBy", "marketprism.target");
    unit.finish()
}

fn unit_section(unit: &mut UnitFile, service: &Service, form: Form) {
    unit.section("Unit");
    let instance = if form == Form::Template { " %i" } else { "" };
    unit.set("Description", format_args!("MarketPrism {}{instance}", service.summary));
    unit.set("Documentation", documentation(&service.page()));
    unit.set("PartOf", "marketprism.target");

    let ours = |name: &&str| format!("marketprism-{name}.service");
    let host = |wanted: &str| service.after_host.contains(&wanted);
    let mut wants: Vec<String> = service.wants.iter().map(ours).collect();
    let mut after: Vec<String> = service.after_host.iter().map(|&name| name.to_owned()).collect();
    after.extend(service.after.iter().map(ours));
    if host("network-online.target") {
        wants.push("network-online.target".to_owned());
    }
    if service.socket {
        let socket = format!("{}.socket", service.unit());
        wants.push(socket.clone());
        after.push(socket);
    }
    unit.list("Wants", &wants);
    unit.list("After", &after);
    unit.set("OnFailure", alert::on_failure());

    match service.perseverance {
        Perseverance::Endless => unit.set("StartLimitIntervalSec", 0),
        Perseverance::Bounded => {
            unit.set("StartLimitIntervalSec", format_args!("{STARTS_MINUTES}min"));
            unit.set("StartLimitBurst", STARTS_MAX);
        }
    }
}

fn program(unit: &mut UnitFile, service: &Service, form: Form) {
    let binary = service.binary();
    match service.program {
        Program::Daemon => {
            let configuration = match form {
                Form::Single => CONFIGURATION.to_owned(),
                Form::Template => format!("/etc/marketprism/{}-%i.yaml", service.name),
            };
            let command = format!("{binary} --config {configuration}");
            unit.set("Type", "notify");
            unit.set("NotifyAccess", "main");
            unit.set("ExecStart", &command);
            unit.set("ExecReload", format_args!("{command} --check"));
            unit.set("ExecReload", "/bin/kill -HUP $MAINPID");
            unit.set("WatchdogSec", "30s");
        }
        Program::NatsServer => {
            let rendered = format!("/run/{}/nats.conf", service.unit());
            unit.set("Type", "simple");
            unit.set("ExecCondition", format_args!("{binary} wanted --config {CONFIGURATION}"));
            unit.set(
                "ExecStartPre",
                format_args!("{binary} render --config {CONFIGURATION} --out {rendered}"),
            );
            unit.set("ExecStart", format_args!("/usr/sbin/nats-server -c {rendered}"));
            unit.comment(
                "SIGUSR2 waits 10 s for clients to move to another server; there is none.",
            );
            unit.comment("SIGTERM exits with 1, which systemd takes for a failure.");
            unit.set("KillSignal", "SIGINT");
            unit.set("ExecReload", "/bin/kill -HUP $MAINPID");
        }
    }
}

fn lifetime(unit: &mut UnitFile, service: &Service, level: Level) {
    unit.set("TimeoutStartSec", format_args!("{}s", service.start_seconds));
    unit.set("TimeoutStopSec", format_args!("{STOP_SECONDS}s"));
    unit.set("TimeoutAbortSec", "10s");
    unit.set("Restart", "always");
    unit.set("RestartSec", "1s");
    if level >= Level::V257 {
        // Since 254 the failure of a service that is started again would be reported, too.
        unit.set("RestartMode", "direct");
    }
    if service.program == Program::Daemon {
        unit.set("RestartPreventExitStatus", 78);
    }
}

fn identity(unit: &mut UnitFile, service: &Service, form: Form) {
    unit.set("User", service.unit());
    unit.set("Group", GROUP);
    unit.set("StateDirectory", form.name(&format!("marketprism/{}", service.name)));
    unit.set("StateDirectoryMode", "0750");
    unit.set("RuntimeDirectory", form.name(&service.unit()));
    let runtime_mode = match service.program {
        Program::Daemon => "0750",
        // The rendered configuration holds the passwords.
        Program::NatsServer => "0700",
    };
    unit.set("RuntimeDirectoryMode", runtime_mode);
    if service.program == Program::Daemon {
        unit.set("LoadCredential", "marketprism.internal-token");
    }
    match service.bus_users {
        BusUsers::Own => {
            unit.set("LoadCredential", format_args!("marketprism.nats-{}", service.name));
        }
        BusUsers::All => {
            for user in daemons() {
                unit.set("LoadCredential", format_args!("marketprism.nats-{}", user.name));
            }
        }
    }
    for secret in service.secrets {
        unit.set("LoadCredential", format_args!("marketprism.{}", secret.name));
    }
}

fn resources(unit: &mut UnitFile, service: &Service, form: Form) {
    unit.set("Slice", "marketprism.slice");
    unit.comment(service.memory.because);
    unit.set("MemoryMax", service.memory.value);
    unit.comment(service.descriptors.because);
    unit.set("LimitNOFILE", service.descriptors.value);
    unit.set("LimitCORE", 0);
    unit.set("TasksMax", 1024);
    if service.recorder {
        unit.set("OOMScoreAdjust", -200);
    }
    unit.set("LogExtraFields", format_args!("MP_SERVICE={}", form.name(service.name)));
    unit.set("LogRateLimitIntervalSec", "30s");
    unit.set("LogRateLimitBurst", 20_000);
}

/// The sandbox of every service: no capability, no device, no file but its own directories.
const SANDBOX: &[(&str, &str)] = &[
    ("UMask", "0077"),
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("PrivateUsers", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictNamespaces", "yes"),
    ("KeyringMode", "private"),
    ("RemoveIPC", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateDevices", "yes"),
    ("DevicePolicy", "closed"),
    ("PrivateIPC", "yes"),
    ("PrivateMounts", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallErrorNumber", "EPERM"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
];

/// Closes a unit in.
pub(crate) fn sandbox(unit: &mut UnitFile, level: Level) {
    for (key, value) in SANDBOX {
        unit.set(key, value);
    }
    let private_tmp = if level >= Level::V257 { "disconnected" } else { "yes" };
    unit.set("PrivateTmp", private_tmp);
}
