//! The plugin host process: loads one plugin and answers for it.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use deployx_plugin_abi::caller::{CallError, Plugin};
use deployx_plugin_abi::wire;
use deployx_plugin_sdk::FileView;
use deployx_plugin_sdk::view::LentView;

use super::frame::{Frame, FrameKind};
use super::hello::{self, Hello};
use super::{Reason, Refusal, check, image, library};

/// Loads the plugin at `path` and answers questions from standard input on standard output until
/// the input ends; then the process ends. For a process that does nothing else: it is
/// limited, its standard descriptors are moved, and a plugin may end it at any time.
///
/// # Errors
/// The standard descriptors cannot be moved, or the output is closed.
pub fn serve(path: &Path, view: &dyn FileView) -> io::Result<()> {
    let (input, mut output) = process::isolate()?;
    let questions = listen(input)?;
    let plugin = match start(path) {
        Ok(plugin) => plugin,
        Err(refusal) => return send(&mut output, 0, FrameKind::Refused, refusal.encode()),
    };
    send(
        &mut output,
        0,
        FrameKind::Hello,
        Hello::of(&plugin).encode(),
    )?;
    let lent = LentView::new(view);
    let table = lent.table();
    for question in questions {
        let (kind, body) = match question.kind {
            FrameKind::Infer => outcome(plugin.infer_bytes(&question.body, &table)),
            FrameKind::AddRules => add_rules(&plugin, &question.body),
            _ => (FrameKind::BadAnswer, b"that is no question".to_vec()),
        };
        send(&mut output, question.id, kind, body)?;
    }
    process::end()
}

fn start(path: &Path) -> Result<Plugin, Refusal> {
    let file = check::open(path)?;
    image::examine(&file)?;
    library::load(&file, path)
}

/// Reads questions on a thread of its own. Where the input ends, so does the process, even if the
/// plugin is busy: whoever asked is gone.
fn listen(input: File) -> io::Result<Receiver<Frame>> {
    let (sender, questions) = channel();
    let mut input = BufReader::new(input);
    std::thread::Builder::new()
        .name("questions".into())
        .spawn(move || {
            while let Ok(frame) = Frame::read(&mut input) {
                if sender.send(frame).is_err() {
                    break;
                }
            }
            process::end();
        })?;
    Ok(questions)
}

fn send(output: &mut impl Write, id: u64, kind: FrameKind, body: Vec<u8>) -> io::Result<()> {
    Frame { id, kind, body }.write(output)
}

fn add_rules(plugin: &Plugin, body: &[u8]) -> (FrameKind, Vec<u8>) {
    let Some((source, toml)) = hello::decode_table(body) else {
        return (FrameKind::BadAnswer, b"that is no table".to_vec());
    };
    match plugin.add_rules(&source, &toml) {
        Ok(Err(error)) => (FrameKind::RuleError, wire::encode_rule_error(&error)),
        Ok(Ok(())) => (FrameKind::Answer, Vec::new()),
        Err(error) => outcome(Err(error)),
    }
}

fn outcome(result: Result<Vec<u8>, CallError>) -> (FrameKind, Vec<u8>) {
    let error = match result {
        Ok(answer) => return (FrameKind::Answer, answer),
        Err(error) => error,
    };
    let kind = match error {
        CallError::Refused(_) | CallError::NotOffered => FrameKind::Declined,
        CallError::Unreadable(_) | CallError::Panicked(_) => FrameKind::Failed,
        _ => FrameKind::BadAnswer,
    };
    (kind, error.to_string().into_bytes())
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::new(Reason::Host, error.to_string())
    }
}

#[cfg(unix)]
mod process {
    use super::{File, io};

    use rustix::fs::{Mode, OFlags};
    use rustix::process::{Resource, Rlimit};

    /// The most memory that the process may write to, in bytes.
    const MEMORY: u64 = 1 << 30;

    /// Limits the process, and moves its standard descriptors away: what a plugin prints must not
    /// look like an answer, and what it reads must not be a question.
    pub(super) fn isolate() -> io::Result<(File, File)> {
        for (resource, limit) in [(Resource::Core, 0), (Resource::Data, MEMORY)] {
            let current = rustix::process::getrlimit(resource);
            let maximum = current.maximum.map_or(limit, |maximum| maximum.min(limit));
            let limit = Rlimit {
                current: Some(maximum),
                maximum: Some(maximum),
            };
            rustix::process::setrlimit(resource, limit)?;
        }
        // Above the standard descriptors, whichever of them are open.
        let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok((File::from(input), File::from(output)))
    }

    /// Ends the process at once, without the plugin's exit handlers.
    pub(super) fn end() -> ! {
        // SAFETY: `_exit` ends the process; there is nothing that has to be put in order.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(not(unix))]
mod process {
    use super::{File, io};

    /// Not possible here yet; no plugin passes its checks on this system either.
    pub(super) fn isolate() -> io::Result<(File, File)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn end() -> ! {
        std::process::exit(0)
    }
}
