//! Reads command lines of bash, sh, dash, ksh and zsh and says which paths they touch.
mod dialect;
mod parse;
mod syntax;
mod text;
