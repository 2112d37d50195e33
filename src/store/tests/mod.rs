//! Behaviour of the whole store.

mod concurrency;
mod crash;
mod expire;
mod lifecycle;
mod list;
mod open;
mod places;
mod verify;
