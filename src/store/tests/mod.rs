//! Behaviour of the whole store.

mod compact;
mod concurrency;
mod crash;
mod expire;
mod lifecycle;
mod list;
mod open;
mod places;
mod shrink;
mod verify;
