//! Who this agent is: what it tells a backend about its host.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where the system lists its network interfaces.
const INTERFACES: &str = "/sys/class/net";

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

/// What the kernel lets a process do that has these capabilities, by their numbers.
const RIGHTS: [(&[u32], &str); 5] = [
    // CAP_DAC_OVERRIDE, CAP_FOWNER
    (&[1, 3], "files of other users"),
    // CAP_CHOWN
    (&[0], "owners and groups of which this user is no member"),
    // CAP_MKNOD
    (&[27], "device nodes"),
    // CAP_LINUX_IMMUTABLE
    (&[9], "the immutable and append-only flags"),
    // CAP_SETFCAP, CAP_SYS_ADMIN
    (&[31, 21], "file capabilities and trusted attributes"),
];

/// What a rollback cannot give back for this process's user.
pub(super) fn what_cannot_be_restored() -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let by_user = if crate::sys::durable::own_uid() == 0 {
        u64::MAX
    } else {
        0
    };
    missing(capabilities(&status).unwrap_or(by_user))
}

/// The capabilities in force, of a process's `status`; `None` where the system has none.
fn capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// What cannot be restored with these capabilities.
fn missing(capabilities: u64) -> Vec<&'static str> {
    let has = |number: &u32| capabilities & (1 << number) != 0;
    RIGHTS
        .iter()
        .filter(|(needed, _)| !needed.iter().all(has))
        .map(|(_, what)| *what)
        .collect()
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

/// The hardware address of the interface that has `address`, else of the first that has one and is up.
fn mac_address(address: IpAddr) -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let own = match address {
        IpAddr::V4(address) => with_ipv4(address, &read("/proc/net/route")),
        IpAddr::V6(address) => with_ipv6(address, &read("/proc/net/if_inet6")),
    };
    let own = own.and_then(|name| hardware_address(&Path::new(INTERFACES).join(name)));
    own.or_else(first_hardware_address).unwrap_or_default()
}

/// The interface whose network holds an address, from the system's table of routes. Where none does, the
/// one of the default route.
fn with_ipv4(address: Ipv4Addr, routes: &str) -> Option<String> {
    let number = |text: &str| {
        // As the network has it in memory.
        let number = u32::from_str_radix(text, 16).ok()?;
        Some(u32::from_be_bytes(number.to_ne_bytes()))
    };
    let networks = routes.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (network, mask) = (number(fields.get(1)?)?, number(fields.get(7)?)?);
        (address.to_bits() & mask == network).then(|| (mask, (*fields[0]).to_owned()))
    });
    networks.max_by_key(|(mask, _)| *mask).map(|(_, name)| name)
}

/// The interface that has an address, from the system's table of addresses.
fn with_ipv6(address: Ipv6Addr, addresses: &str) -> Option<String> {
    let own = format!("{:032x}", address.to_bits());
    let line = addresses.lines().find(|line| line.starts_with(&own))?;
    line.split_whitespace().nth(5).map(str::to_owned)
}

fn hardware_address(interface: &Path) -> Option<String> {
    first_line(interface.join("address").to_str()?).filter(|one| one != "00:00:00:00:00:00")
}

fn first_hardware_address() -> Option<String> {
    let interfaces = fs::read_dir(INTERFACES).ok()?.flatten();
    let found = interfaces.filter_map(|interface| {
        let state = first_line(interface.path().join("operstate").to_str()?);
        let address = hardware_address(&interface.path())?;
        Some((state.as_deref() != Some("up"), address))
    });
    found.min().map(|(_, address)| address)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_decide_what_can_be_restored() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        let all = capabilities(status).unwrap();
        assert_eq!(missing(all), Vec::<&str>::new());
        assert_eq!(missing(all & !(1 << 27)), ["device nodes"]);
        assert_eq!(missing(0).len(), RIGHTS.len());
        assert_eq!(capabilities("Name: x"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_interface_is_found_by_its_address() {
        let routes = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
wg0\t0007A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";
        let name = |text: &str| with_ipv4(text.parse().unwrap(), routes);
        assert_eq!(name("192.168.7.4").as_deref(), Some("wg0"));
        assert_eq!(name("192.168.8.4").as_deref(), Some("eth0"));
        assert_eq!(name("203.0.113.9").as_deref(), Some("eth0"));
        assert_eq!(with_ipv4(Ipv4Addr::LOCALHOST, ""), None);
        let addresses = "\
00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 80     eth1
";
        let name = |text: &str| with_ipv6(text.parse().unwrap(), addresses);
        assert_eq!(name("2001:db8::7").as_deref(), Some("eth1"));
        assert_eq!(name("2001:db8::8"), None);
    }
}
