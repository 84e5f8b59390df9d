//! The nspawn process of one machine: started, asked to power off, killed, cleaned up after.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use super::{Image, Network, Release};

/// How long a machine may take to boot: it takes about a second, on a loaded machine ten.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// The name of the socket that nspawn reports to.
const REPORTS: &str = "notify";

/// How long a killed container may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Mounts the machine's root in a mount namespace that dies with it, joins its control groups and
/// runs systemd-nspawn, again after a reboot, which without a manager on the host is exit status 133
/// and the caller's to do. Arguments: scratch folder, image, number of groups, groups, nspawn's own.
const SCRIPT: &str = r#"
set -eu
scratch=$1 image=$2 groups=$3; shift 3
mount -t tmpfs -o mode=0755 machine "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$image,upperdir=$scratch/upper,workdir=$scratch/work" machine "$scratch/root"
while [ "$groups" -gt 0 ]; do echo $$ > "$1/cgroup.procs"; shift; groups=$((groups - 1)); done
nspawn= code=133
trap 'kill -TERM "$nspawn"' TERM
while [ "$code" -eq 133 ]; do
    systemd-nspawn --directory="$scratch/root" "$@" & nspawn=$!
    # A signal ends a wait before its time.
    while kill -0 "$nspawn" 2>/dev/null; do code=0; wait "$nspawn" || code=$?; done
done
exit "$code"
"#;

/// A running container.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    /// The process that runs nspawn, and the group that both are in.
    runner: u32,
    leader: u32,
    ended: Receiver<io::Result<ExitStatus>>,
    keeper: Option<JoinHandle<()>>,
    groups: Vec<PathBuf>,
    scratch: TempDir,
}

/// What nspawn reports to, only while somebody waits for a boot: unread, its queue would fill up and
/// nspawn would wait for ever.
#[derive(Debug)]
pub(super) struct Reports {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Reports {
    fn listen(scratch: &Path) -> anyhow::Result<Reports> {
        let path = scratch.join(REPORTS);
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Reports { socket, path })
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // Its folder goes anyway.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl Container {
    /// Starts a container over `image` and waits until its init reports that it has booted.
    pub(super) fn start(image: &Image, name: &str, network: Network) -> anyhow::Result<Container> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{count}", std::process::id());
        let scratch = tempfile::Builder::new().prefix("machine-").tempdir()?;
        fs::create_dir(scratch.path().join("mount"))?;
        let reports = Reports::listen(scratch.path())?;
        let groups = control_groups(&name)?;

        let command = command(image, &name, network, &groups, scratch.path())?;
        let (started_tx, started) = mpsc::channel();
        let (ended_tx, ended) = mpsc::channel();
        // The kernel sends the parent-death signal when the *thread* that started the child ends, so
        // one thread starts it and stays until it is gone.
        let keeper = std::thread::Builder::new()
            .name("machine".to_owned())
            .spawn(move || keep(command, &started_tx, &ended_tx))?;
        let runner = started.recv().context("the keeper thread ended")?;
        // From here on, dropping it cleans up, whatever fails.
        let mut container = Container {
            name,
            runner: *runner.as_ref().unwrap_or(&0),
            leader: 0,
            ended,
            keeper: Some(keeper),
            groups,
            scratch,
        };
        runner.context("run systemd-nspawn")?;
        container.wait_for_boot(&reports, 0)?;
        Ok(container)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn leader(&self) -> u32 {
        self.leader
    }

    /// The last lines of the console.
    pub(super) fn console(&self) -> String {
        let log = fs::read(self.scratch.path().join("console")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Asks init to power off and waits.
    pub(super) fn power_off(&mut self, limit: Duration) -> anyhow::Result<()> {
        // nspawn passes the first SIGTERM on as the request that init understands.
        signal("TERM", &self.runner.to_string())?;
        match self.ended.recv_timeout(limit) {
            Ok(status) => {
                let status = status.context("wait for systemd-nspawn")?;
                ensure!(status.success(), "systemd-nspawn: {status}\n{}", self.console());
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("not off within {limit:?}: it was killed\n{}", self.console())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("it was gone already"),
        }
        Ok(())
    }

    /// Begins to listen for what [`Container::wait_for_reboot`] waits for.
    pub(super) fn expect_reboot(&self) -> anyhow::Result<Reports> {
        Reports::listen(self.scratch.path())
    }

    /// Waits for another init in the place of the one that was told to reboot.
    pub(super) fn wait_for_reboot(&mut self, reports: &Reports) -> anyhow::Result<()> {
        self.wait_for_boot(reports, self.leader)
    }

    /// Reads what nspawn reports: the process id of a leader other than `before`, then that its init
    /// has booted.
    fn wait_for_boot(&mut self, reports: &Reports, before: u32) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut datagram = [0; 4096];
        loop {
            if self.ended.try_recv().is_ok() {
                bail!("systemd-nspawn ended:\n{}", self.console());
            }
            ensure!(began.elapsed() < BOOT_LIMIT, "not booted:\n{}", self.console());
            let Ok(length) = reports.socket.recv(&mut datagram) else { continue };
            let report = String::from_utf8_lossy(&datagram[..length]);
            for line in report.lines() {
                if let Some(pid) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                    self.leader = pid.parse().context("read the leader's process id")?;
                }
            }
            if self.leader != before && report.lines().any(|line| line == "READY=1") {
                return Ok(());
            }
        }
    }

    fn running(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Killing init takes every process of the container with it; nspawn follows by itself.
        let victims =
            [(self.leader, self.leader.to_string()), (self.runner, format!("-{}", self.runner))];
        for (pid, victim) in victims {
            if pid != 0 && self.running() && signal("KILL", &victim).is_ok() {
                let waited = self.ended.recv_timeout(KILL_LIMIT);
                if !matches!(waited, Err(RecvTimeoutError::Timeout)) {
                    break;
                }
            }
        }
        let keeper = self.keeper.take();
        if keeper.is_some_and(|keeper| keeper.join().is_err()) {
            crate::progress(format_args!("{}: its keeper thread panicked", self.name));
        }
        for group in &self.groups {
            let began = Instant::now();
            let mut removed = remove_group(group);
            // Processes that were killed take a moment to be gone.
            while removed.is_err() && began.elapsed() < KILL_LIMIT {
                std::thread::sleep(Duration::from_millis(20));
                removed = remove_group(group);
            }
            if let Err(error) = removed {
                crate::progress(format_args!("{}: left behind: {error}", group.display()));
            }
        }
    }
}

/// Starts the process, says how that went, and waits for its end.
fn keep(
    mut command: Command,
    started: &mpsc::Sender<io::Result<u32>>,
    ended: &mpsc::Sender<io::Result<ExitStatus>>,
) {
    let child: io::Result<Child> = command.spawn();
    let known = match &child {
        Ok(child) => started.send(Ok(child.id())),
        Err(error) => started.send(Err(io::Error::new(error.kind(), error.to_string()))),
    };
    if let (Ok(mut child), Ok(())) = (child, known) {
        // Nobody listens any more when the machine is dropped; it is reaped all the same.
        ended.send(child.wait()).unwrap_or_default();
    }
}

fn command(
    image: &Image,
    name: &str,
    network: Network,
    groups: &[PathBuf],
    scratch: &Path,
) -> anyhow::Result<Command> {
    let console = fs::File::create(scratch.join("console"))?;
    let mut command = Command::new("setpriv");
    // A Ctrl-C at the terminal is for whoever booted the machine, who then powers it off.
    command.process_group(0);
    command.args(["--pdeathsig", "TERM"]);
    command.args(["unshare", "--mount", "--propagation", "slave"]);
    command.args(["sh", "-c", SCRIPT, "machine"]);
    command.arg(scratch.join("mount")).arg(image.root());
    command.arg(groups.len().to_string()).args(groups);
    command.arg(format!("--machine={name}"));
    command.args(["--boot", "--quiet", "--register=no", "--link-journal=no"]);
    command.args(["--console=pipe", "--notify-ready=yes"]);
    if !host_runs_systemd() {
        // There is no manager to ask for a scope.
        command.arg("--keep-unit");
    }
    match network {
        Network::Private => command.arg("--private-network"),
        Network::Host => &mut command,
        Network::Of(pid) => command.arg(format!("--network-namespace-path=/proc/{pid}/ns/net")),
    };
    if image.release() == Release::Trixie {
        // systemd 256 and later refuse to run with legacy control groups, which the host may have.
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    }
    command.env("NOTIFY_SOCKET", scratch.join(REPORTS));
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    Ok(command)
}

fn host_runs_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Makes control groups for a machine, one per hierarchy, so that machines do not share one.
///
/// Where the host runs systemd, nspawn asks it for a scope in their place.
fn control_groups(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    if host_runs_systemd() {
        return Ok(groups);
    }
    for hierarchy in ["", "systemd", "unified", "memory", "pids", "cpu", "cpuacct"] {
        let hierarchy = Path::new("/sys/fs/cgroup").join(hierarchy);
        if hierarchy.join("cgroup.procs").exists() {
            let group = hierarchy.join(name);
            fs::create_dir(&group).with_context(|| format!("create {}", group.display()))?;
            groups.push(group);
        }
    }
    Ok(groups)
}

/// Removes a control group and those below it, which are empty once the container is gone.
fn remove_group(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_group(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Sends a signal to a process that this module started, or with a minus to its group.
fn signal(name: &str, pid: &str) -> anyhow::Result<()> {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", name, pid])
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "no process {pid} to send SIG{name} to");
    Ok(())
}
