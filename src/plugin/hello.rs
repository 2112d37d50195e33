//! What a plugin host process says first, and how a table of commands is sent.

use deployx_plugin_abi::caller::{MAX_SHELLS, MAX_VERSION, Plugin, is_name};
use deployx_plugin_abi::layout::CAPABILITY_TABLES;
use deployx_plugin_abi::wire::{Reader, Writer};

use super::{Reason, Refusal};

/// The records of a hello.
mod tag {
    pub(super) const NAME: u16 = 1;
    pub(super) const VERSION: u16 = 2;
    pub(super) const SHELL: u16 = 3;
    pub(super) const TABLES: u16 = 4;
}

/// The records of a refusal.
mod refused {
    pub(super) const REASON: u16 = 1;
    pub(super) const MESSAGE: u16 = 2;
}

/// The records of a table of commands.
mod table {
    pub(super) const SOURCE: u16 = 1;
    pub(super) const TOML: u16 = 2;
}

/// The longest message that is taken from a plugin host process, in bytes.
const MAX_MESSAGE: usize = 4096;

/// What a plugin is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hello {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) shells: Vec<String>,
    /// It takes tables of commands.
    pub(super) tables: bool,
}

impl Hello {
    pub(super) fn of(plugin: &Plugin) -> Self {
        Self {
            name: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            shells: plugin.shells().to_vec(),
            tables: plugin.capabilities() & CAPABILITY_TABLES != 0,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.put(tag::NAME, self.name.as_bytes());
        writer.put(tag::VERSION, self.version.as_bytes());
        for shell in &self.shells {
            writer.put(tag::SHELL, shell.as_bytes());
        }
        writer.put_flag(tag::TABLES, self.tables);
        writer.finish()
    }

    /// `None` where the bytes are no hello.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut hello = Self::default();
        let mut reader = Reader::new(bytes).ok()?;
        while let Some(record) = reader.next().ok()? {
            let text = || std::str::from_utf8(record.content).ok().map(str::to_owned);
            match record.tag {
                tag::NAME => hello.name = text().filter(|name| is_name(name.as_bytes()))?,
                tag::VERSION => {
                    let plain = |text: &String| !text.chars().any(char::is_control);
                    hello.version = text()
                        .filter(plain)
                        .filter(|text| text.len() <= MAX_VERSION)?;
                }
                tag::SHELL if hello.shells.len() < MAX_SHELLS => {
                    let shell = text().filter(|name| is_name(name.as_bytes()))?;
                    hello.shells.push(shell);
                }
                tag::TABLES => hello.tables = record.content == [1],
                _ => return None,
            }
        }
        (!hello.name.is_empty() && !hello.shells.is_empty()).then_some(hello)
    }
}

impl Refusal {
    pub(super) fn encode(&self) -> Vec<u8> {
        let reason = match self.reason {
            Reason::File => 0,
            Reason::Library => 1,
            Reason::Interface => 2,
            _ => 3,
        };
        let mut writer = Writer::default();
        writer.put(refused::REASON, &[reason]);
        writer.put(refused::MESSAGE, self.message.as_bytes());
        writer.finish()
    }

    /// `None` where the bytes are no refusal.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut reason, mut message) = (None, None);
        let mut reader = Reader::new(bytes).ok()?;
        while let Some(record) = reader.next().ok()? {
            match (record.tag, record.content) {
                (refused::REASON, [0]) => reason = Some(Reason::File),
                (refused::REASON, [1]) => reason = Some(Reason::Library),
                (refused::REASON, [2]) => reason = Some(Reason::Interface),
                (refused::REASON, [3]) => reason = Some(Reason::Host),
                (refused::MESSAGE, content) => message = Some(self::message(content)),
                _ => return None,
            }
        }
        Some(Self::new(reason?, message?))
    }
}

/// Text from a plugin host process for people: cut, and without control characters.
pub(super) fn message(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The bytes of a table of commands and the name of its file.
pub(super) fn encode_table(source: &str, toml: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(table::SOURCE, source.as_bytes());
    writer.put(table::TOML, toml.as_bytes());
    writer.finish()
}

/// Source and text of a table; `None` where the bytes are none.
pub(super) fn decode_table(bytes: &[u8]) -> Option<(String, String)> {
    let (mut source, mut toml) = (None, None);
    let mut reader = Reader::new(bytes).ok()?;
    while let Some(record) = reader.next().ok()? {
        let text = std::str::from_utf8(record.content).ok()?.to_owned();
        match record.tag {
            table::SOURCE => source = Some(text),
            table::TOML => toml = Some(text),
            _ => return None,
        }
    }
    Some((source?, toml?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            name: "toy".into(),
            version: "1 ü".into(),
            shells: vec!["toy".into(), "toysh".into()],
            tables: true,
        }
    }

    #[test]
    fn what_is_said_comes_back() {
        assert_eq!(Hello::decode(&hello().encode()), Some(hello()));
        let refusal = Refusal::new(Reason::Library, "cut short");
        assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
        let table = ("a.toml".to_owned(), "[x]".to_owned());
        assert_eq!(decode_table(&encode_table(&table.0, &table.1)), Some(table));
    }

    #[test]
    fn a_hello_with_bad_names_is_none() {
        for (name, shell) in [("", "toy"), ("a b", "toy"), ("toy", "\x1b[31m")] {
            let bad = Hello {
                name: name.into(),
                shells: vec![shell.into()],
                ..hello()
            };
            assert_eq!(Hello::decode(&bad.encode()), None);
        }
        let nothing = Hello {
            shells: Vec::new(),
            ..hello()
        };
        assert_eq!(Hello::decode(&nothing.encode()), None);
        assert_eq!(Hello::decode(b"garbage"), None);
    }
}
