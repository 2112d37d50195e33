//! Work of an administrator on a whole system, taken back: everything but `/proc`, `/dev`, `/run`, `/sys`
//! and the store is compared.
//!
//! The system is a copy of `DEPLOYX_TEST_SYSTEM_ROOT` (one made by debootstrap). What needs no network
//! always runs; `DEPLOYX_TEST_SYSTEM_WORK=all` installs compilers and package managers from the network
//! into the copy first, and uses them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::{has_program, is_root, require, shell, text};

/// What is run, and needs nothing that a minimal system lacks.
const OFFLINE: &[&str] = &[
    "useradd -m bob && echo bob:secret | chpasswd && usermod -aG adm bob && chown -R bob /srv /opt",
    "DEBIAN_FRONTEND=noninteractive dpkg --force-depends --purge dbus procps",
    "find /usr/share/perl5 /usr/lib -name '*.p[ml]' -delete; find /var/lib/dpkg -name '*.list' -delete",
    "mkdir /srv/x && tar cf - /usr/share /etc | tar xf - -C /srv/x && rm -rf /usr/share/doc && chmod -R g+w /etc",
    "perl -pi.bak -e 's/root/toor/' /etc/passwd /etc/group && rm /etc/*.bak && mv /etc/fstab /etc/fstab.old; ldconfig",
    "mv /usr/share/zoneinfo /usr/share/zones && cp -a /usr/share/zones /usr/share/zoneinfo && touch -d @0 /usr/share/zoneinfo/*",
];

/// Fetched before the work that needs it.
const TOOLS: &str = "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
    --no-install-recommends git make gcc libc6-dev rsync sqlite3 python3-pip python3-venv vim-tiny \
    ca-certificates wget npm cargo patch && git init -q /opt/repo && cd /opt/repo && git config --global \
    user.email a@b && git config --global user.name c && for i in $(seq 60); do mkdir -p d$i && \
    seq $i 400 > d$i/f && cp -a /etc/apt d$i/ && git add -A && git commit -qm $i && git rm -qr d$i/apt; done; \
    wget -q http://deb.debian.org/debian/pool/main/h/hello/hello_2.10.orig.tar.gz -O /opt/hello.tar.gz";

/// What is run with them.
const ONLINE: &[&str] = &[
    "cd /srv && git clone -q /opt/repo r && cd r && git checkout -q HEAD~40 && git gc -q && git checkout -q - && rm -rf d2* && git checkout -q . && git gc -q --prune=now",
    "cd /srv && tar xf /opt/hello.tar.gz && cd hello-2.10 && ./configure -q >/dev/null && make -s >/dev/null 2>&1 && make -s install >/dev/null 2>&1",
    "cd /etc && vim.tiny -es -c '%s/root/toor/g' -c wq passwd; vim.tiny -es -c 'set backup' -c '%s/a/b/g' -c wq fstab; true",
    "cd /srv && python3 -m venv env && env/bin/pip install -q requests flask",
    "pip install -q --break-system-packages rich",
    "cd /srv && npm init -y >/dev/null && npm install --silent express",
    "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nginx-light",
    "DEBIAN_FRONTEND=noninteractive apt-get remove -y -q vim-tiny rsync",
    "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q sqlite3 wget patch && apt-get -y -q autoremove",
    "apt-get update -q",
    "cd /srv && cargo new -q --vcs none app && cd app && cargo build -q && cargo build -q --release",
    "rsync -a --delete /usr/lib/git-core/ /usr/share/perl/ && rsync -a --delete --inplace /etc/apt/ /etc/ssl/",
    "sqlite3 /srv/d.db 'create table t(a); insert into t values (1),(2)' && sqlite3 /srv/d.db 'pragma journal_mode=wal; update t set a=3; vacuum'",
];

/// Mounts what a system needs in a mount namespace of its own and runs the rest in there.
const ENTER: &str = "mount --bind \"$0\" \"$0\" && mount -t proc proc \"$0/proc\" && \
    mount --bind /dev \"$0/dev\" && mount -t tmpfs tmpfs \"$0/run\" && exec chroot \"$0\" \"$@\"";

/// Variables that say which certificates to trust, where this machine has its own.
const TRUST: &[&str] = &[
    "SSL_CERT_FILE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
];

struct System {
    _keep: tempfile::TempDir,
    root: PathBuf,
    copy: PathBuf,
}

impl System {
    fn copied_from(base: &Path) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().canonicalize().unwrap();
        let (root, copy) = (path.join("root"), path.join("copy"));
        let line = format!("cp -a '{}' '{}'", base.display(), root.display());
        shell(&path, &line);
        std::fs::copy(env!("CARGO_BIN_EXE_deployx"), root.join("usr/bin/deployx")).unwrap();
        // Making it would change its directory's time.
        std::fs::create_dir_all(root.join("var/lib/deployx")).unwrap();
        let _ = std::fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf"));
        if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
            std::fs::create_dir_all(root.join("etc/trust")).unwrap();
            std::fs::copy(file, root.join("etc/trust/all.pem")).unwrap();
        }
        Self {
            _keep: keep,
            root,
            copy,
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_entering(ENTER, arguments)
    }

    fn run_entering(&self, enter: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", enter])
            .arg(&self.root)
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .stdin(Stdio::null());
        if self.root.join("etc/trust").exists() {
            command.envs(TRUST.iter().map(|name| (name, "/etc/trust/all.pem")));
        }
        command.output().expect("unshare")
    }

    fn deployx(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["deployx", "--snapshot-dir", "/var/lib/deployx"];
        all.extend(arguments);
        self.run(&all)
    }

    fn rsync(&self, options: &[&str]) -> String {
        let excluded = ["/proc/*", "/dev/*", "/run/*", "/sys/*", "/var/lib/deployx"];
        let output = Command::new("rsync")
            .args(["-aHAX", "--delete", "--modify-window=-1"])
            .args(options)
            .args(excluded.map(|path| format!("--exclude={path}")))
            .arg(self.root.join(""))
            .arg(&self.copy)
            .output()
            .expect("rsync");
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a line, takes it back, and compares the whole system before and after.
    fn assert_taken_back(&self, line: &str) {
        let output = self.deployx(&["run", "--strategy", "intercept", "--", line]);
        assert!(output.status.success(), "{line}: {}", text(&output));
        assert!(!text(&output).contains("not covered"), "{}", text(&output));
        assert_ne!(self.rsync(&["-nic"]), "", "{line} changed nothing");
        let undone = self.deployx(&["rollback", "last", "--yes"]);
        assert!(undone.status.success(), "{line}: {}", text(&undone));
        assert_eq!(self.rsync(&["-nic"]), "", "{line}: {}", text(&output));
    }
}

/// The root of a chroot is in no mount table unless something is mounted there.
fn assert_covered_without_a_mount(system: &System) {
    let enter = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
    for strategy in ["copy", "intercept"] {
        let line = "rm /etc/fstab && echo new > /etc/new";
        let run = [
            "deployx",
            "--snapshot-dir",
            "/var/lib/deployx",
            "run",
            "--strategy",
        ];
        let output = system.run_entering(enter, &[&run[..], &[strategy, "--", line]].concat());
        assert!(output.status.success(), "{strategy}: {}", text(&output));
        let output = text(&output);
        assert!(!output.contains("not covered"), "{strategy}: {output}");
        let back = [
            "deployx",
            "--snapshot-dir",
            "/var/lib/deployx",
            "rollback",
            "last",
        ];
        let undone = system.run_entering(enter, &back);
        assert!(undone.status.success(), "{strategy}: {}", text(&undone));
        assert_eq!(system.rsync(&["-nic"]), "", "{strategy}: {output}");
    }
}

#[test]
fn work_on_a_whole_system_is_taken_back_exactly() {
    let test = "work_on_a_whole_system_is_taken_back_exactly";
    let base = std::env::var_os("DEPLOYX_TEST_SYSTEM_ROOT").map(PathBuf::from);
    let tools = ["rsync", "unshare", "chroot"]
        .iter()
        .all(|p| has_program(p));
    let what = "root, rsync, and DEPLOYX_TEST_SYSTEM_ROOT, a directory with a Debian system";
    let Some(base) = base.filter(|_| require(test, what, is_root() && tools)) else {
        require(test, what, false);
        return;
    };
    let system = System::copied_from(&base);
    let starts = system.deployx(&["--version"]).status.success();
    if !require(test, "a system that this program runs in", starts) {
        return;
    }
    let all = std::env::var("DEPLOYX_TEST_SYSTEM_WORK").is_ok_and(|work| work == "all");
    if all {
        let output = system.run(&["sh", "-c", TOOLS]);
        assert!(output.status.success(), "{}", text(&output));
    }
    system.rsync(&[]);
    assert_covered_without_a_mount(&system);
    let online = if all { ONLINE } else { &[] };
    for line in OFFLINE.iter().chain(online) {
        system.assert_taken_back(line);
    }
}
