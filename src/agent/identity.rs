//! Who this agent is: what it tells a backend about its host.

use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The host as a backend sees it. Read once at the start.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) machine_id: String,
    pub(super) device_name: String,
    pub(super) ip_address: String,
    pub(super) mac_address: String,
    pub(super) system: Value,
    pub(super) limits: Vec<&'static str>,
}

/// The operating system, as backends know it.
pub(super) fn system_name() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "windows" => "Windows",
        "macos" => "Darwin",
        other => other,
    }
}

impl Identity {
    /// Reads it; `server` is where the address is chosen for, as `host:port`.
    pub(super) fn read(server: &str) -> Self {
        let address = own_address(server);
        let limits = what_cannot_be_restored();
        Self {
            machine_id: machine_id(),
            device_name: first_line("/proc/sys/kernel/hostname")
                .unwrap_or_else(|| "unknown".into()),
            mac_address: address.map(mac_address).unwrap_or_default(),
            ip_address: address.map(|one| one.to_string()).unwrap_or_default(),
            system: json!({
                "os": system_name(),
                "kernel": first_line("/proc/sys/kernel/osrelease").unwrap_or_default(),
                "distribution": distribution(),
                "architecture": std::env::consts::ARCH,
                "cpus": std::thread::available_parallelism().map_or(1, usize::from),
                "memory_bytes": memory(),
                "agent_version": env!("CARGO_PKG_VERSION"),
                "privileged": limits.is_empty(),
                "cannot_restore": limits,
            }),
            limits,
        }
    }
}

/// What a rollback cannot give back for this process's user.
fn what_cannot_be_restored() -> Vec<&'static str> {
    if crate::sys::durable::own_uid() == 0 {
        return Vec::new();
    }
    vec![
        "files of other users",
        "owners and groups of which this user is no member",
        "device nodes",
        "the immutable and append-only flags",
        "file capabilities and trusted attributes",
    ]
}

fn first_line(file: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The system's id, not as it is: that is to be kept confidential, so its hash for this program.
fn machine_id() -> String {
    let id = first_line("/etc/machine-id").or_else(|| first_line("/var/lib/dbus/machine-id"));
    let Some(id) = id else {
        return "unknown".into();
    };
    let digest = Sha256::digest(format!("deployx agent {id}"));
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The address from which the server is reached. Nothing is sent.
fn own_address(server: &str) -> Option<IpAddr> {
    let target = server.to_socket_addrs().ok()?.next()?;
    let any = if target.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The hardware address of the first interface that has one and is up.
fn mac_address(_: IpAddr) -> String {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else {
        return String::new();
    };
    let mut found: Vec<(bool, String)> = interfaces
        .flatten()
        .filter_map(|interface| {
            let read = |name| first_line(interface.path().join(name).to_str()?);
            let address = read("address").filter(|one| one != "00:00:00:00:00:00")?;
            Some((read("operstate").as_deref() != Some("up"), address))
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .next()
        .map(|one| one.1)
        .unwrap_or_default()
}

fn distribution() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default()
}

fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: Option<u64> = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
    kilobytes.unwrap_or_default() * 1024
}
