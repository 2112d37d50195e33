//! Tests of whole rollbacks without a store: a scanner makes the records.

mod conflicts;
mod crash;
mod kinds;
mod links;
mod random;
mod staged;
mod with_store;
mod world;
