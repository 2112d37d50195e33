//! Reads command lines of bash, sh, dash, ksh and zsh and says which paths they touch.
//!
//! A line is weighed, parsed, and then followed command by command: words are expanded to what is
//! known of their values, the working directory and the variables are tracked through every branch,
//! and each command is looked up among functions, builtins and tables. What cannot be followed is
//! said to be unclear.

mod answer;
mod builtins;
mod changed;
mod command;
mod commands;
mod dialect;
mod evaluate;
mod expand;
mod flow;
mod handlers;
mod parse;
mod redirect;
mod rules;
mod state;
mod syntax;
pub mod tables;
mod text;

pub use rules::BashRules;
