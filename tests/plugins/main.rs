//! Plugins that are wrong in every way: each is refused with a message of its own, and the program
//! lives on. The libraries are built here, from `hostile/` and from the example in C.

#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod cli;
mod files;
mod in_c;
mod loading;
mod site;
