//! The `deployx` program: everything is in [`deployx::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    deployx::cli::main()
}
