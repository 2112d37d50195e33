//! Reads command lines of bash, sh, dash, ksh and zsh and says which paths they touch.
pub mod handlers;
pub mod tables;
