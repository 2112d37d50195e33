//! Answers.

use super::record::{Once, Reader, Record, Writer, push};
use super::request::{decode_session, put_session};
use super::{DecodeError, MAX_ITEMS, MAX_PATHS, tag};
use crate::{Certainty, Depth, Effect, Inference, PathUse, Unclear};

/// The bytes of an answer.
pub fn encode_inference(inference: &Inference) -> Vec<u8> {
    let mut writer = Writer::default();
    for path in &inference.paths {
        writer.put_nested(tag::INFERENCE_PATH, |inner| put_path(inner, path));
    }
    writer.put_some(tag::INFERENCE_CWD_AFTER, inference.cwd_after.as_deref());
    for unclear in &inference.unclear {
        writer.put_nested(tag::INFERENCE_UNCLEAR, |inner| {
            inner.put(tag::UNCLEAR_TEXT, &unclear.text);
            inner.put_some(tag::UNCLEAR_CWD, unclear.cwd.as_deref());
            inner.put(tag::UNCLEAR_REASON, unclear.reason.as_bytes());
        });
    }
    for effect in &inference.irreversible {
        writer.put_nested(tag::INFERENCE_EFFECT, |inner| {
            inner.put(tag::EFFECT_WHAT, effect.what.as_bytes());
            inner.put(tag::EFFECT_REASON, effect.reason.as_bytes());
        });
    }
    writer.put_flag(tag::INFERENCE_DESTRUCTIVE, inference.destructive);
    put_session(&mut writer, tag::INFERENCE_SESSION, &inference.session);
    writer.finish()
}

fn put_path(writer: &mut Writer, path: &PathUse) {
    let depth = match path.depth {
        Depth::Entry => 0,
        Depth::Children => 1,
        Depth::Tree => 2,
    };
    let certainty = match path.certainty {
        Certainty::Possible => 0,
        Certainty::Likely => 1,
        Certainty::Certain => 2,
    };
    writer.put(tag::PATH_PATH, &path.path);
    writer.put(tag::PATH_DEPTH, &[depth]);
    writer.put(tag::PATH_CERTAINTY, &[certainty]);
    writer.put_flag(tag::PATH_FOLLOW, path.follow);
    writer.put(tag::PATH_REASON, path.reason.as_bytes());
    writer.put(tag::PATH_RULE, path.rule.as_bytes());
}

/// The answer that `bytes` encode.
///
/// # Errors
/// They do not encode one.
pub fn decode_inference(bytes: &[u8]) -> Result<Inference, DecodeError> {
    let mut inference = Inference::default();
    let mut cwd_after = Once::new("inference.cwd_after");
    let mut destructive = Once::new("inference.destructive");
    let mut session = Once::new("inference.session");
    let mut reader = Reader::new(bytes)?;
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::INFERENCE_PATH => {
                let paths = &mut inference.paths;
                push(paths, decode_path(record)?, "inference.path", MAX_PATHS)?;
            }
            tag::INFERENCE_CWD_AFTER => cwd_after.set(|field| record.path(field))?,
            tag::INFERENCE_UNCLEAR => {
                let list = &mut inference.unclear;
                push(list, unclear(record)?, "inference.unclear", MAX_ITEMS)?;
            }
            tag::INFERENCE_EFFECT => {
                let list = &mut inference.irreversible;
                push(list, effect(record)?, "inference.irreversible", MAX_ITEMS)?;
            }
            tag::INFERENCE_DESTRUCTIVE => destructive.set(|field| record.flag(field))?,
            tag::INFERENCE_SESSION => session.set(|_| decode_session(record))?,
            _ => {}
        }
    }
    inference.cwd_after = cwd_after.optional();
    inference.destructive = destructive.or_default();
    inference.session = session.or_default();
    Ok(inference)
}

fn decode_path(record: Record<'_>) -> Result<PathUse, DecodeError> {
    let mut path = Once::new("path.path");
    let mut depth = Once::new("path.depth");
    let mut certainty = Once::new("path.certainty");
    let mut follow = Once::new("path.follow");
    let mut reason = Once::new("path.reason");
    let mut rule = Once::new("path.rule");
    let mut reader = record.nested();
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::PATH_PATH => path.set(|field| record.path(field))?,
            tag::PATH_DEPTH => depth.set(|field| match record.byte(field)? {
                0 => Ok(Depth::Entry),
                1 => Ok(Depth::Children),
                2 => Ok(Depth::Tree),
                value => Err(DecodeError::OutOfRange { field, value }),
            })?,
            tag::PATH_CERTAINTY => certainty.set(|field| match record.byte(field)? {
                0 => Ok(Certainty::Possible),
                1 => Ok(Certainty::Likely),
                2 => Ok(Certainty::Certain),
                value => Err(DecodeError::OutOfRange { field, value }),
            })?,
            tag::PATH_FOLLOW => follow.set(|field| record.flag(field))?,
            tag::PATH_REASON => reason.set(|field| record.text(field))?,
            tag::PATH_RULE => rule.set(|field| record.text(field))?,
            _ => {}
        }
    }
    Ok(PathUse {
        path: path.needed()?,
        depth: depth.needed()?,
        certainty: certainty.needed()?,
        follow: follow.or_default(),
        reason: reason.or_default(),
        rule: rule.or_default(),
    })
}

fn unclear(record: Record<'_>) -> Result<Unclear, DecodeError> {
    let mut text = Once::new("unclear.text");
    let mut cwd = Once::new("unclear.cwd");
    let mut reason = Once::new("unclear.reason");
    let mut reader = record.nested();
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::UNCLEAR_TEXT => text.set(|_| Ok(record.content.to_vec()))?,
            tag::UNCLEAR_CWD => cwd.set(|field| record.path(field))?,
            tag::UNCLEAR_REASON => reason.set(|field| record.text(field))?,
            _ => {}
        }
    }
    Ok(Unclear {
        text: text.needed()?,
        cwd: cwd.optional(),
        reason: reason.or_default(),
    })
}

fn effect(record: Record<'_>) -> Result<Effect, DecodeError> {
    let mut what = Once::new("effect.what");
    let mut reason = Once::new("effect.reason");
    let mut reader = record.nested();
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::EFFECT_WHAT => what.set(|field| record.text(field))?,
            tag::EFFECT_REASON => reason.set(|field| record.text(field))?,
            _ => {}
        }
    }
    Ok(Effect {
        what: what.needed()?,
        reason: reason.or_default(),
    })
}
