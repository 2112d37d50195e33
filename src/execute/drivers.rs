//! The loops that make shells run the commands of a session.
//!
//! A session of a Unix shell runs a *driver*, a short loop in the shell's own language, given with
//! `-c`. Each round it writes the status of the last command to one pipe, reads the next command
//! as one quoted unit from another, and evaluates it. What follows from that:
//!
//! - **The command has no way to meet the driver by accident.** The pipes are opened by their names
//!   in `/proc` only for the moment that they are used. While a command runs the shell holds no
//!   descriptor but 0, 1, 2 and those that the commands opened themselves, so every number is the
//!   user's and nothing leaks to background jobs. The driver's own output and its trace
//!   (`set -x`) go to `/dev/null`; only the line that evaluates the command shows in a trace.
//! - **Quoting contains everything.** Unbalanced quotes, here-documents and syntax errors are the
//!   command's own affair.
//! - **Functions of the user do not replace the driver's words.** Builtins are called through
//!   `builtin` or `command`. A function with just that name would, so the driver probes for it and
//!   removes it; it is the one kind of function that does not outlive its command.
//! - **`$?` is the previous command's status** as in one script. It is set by a subshell when it is
//!   not 0.
//! - **A stray `break` or `continue`** ends a round, not the session; the inner loop is restarted.
//!   (`break 2` ends the session.)
//! - Variables of the driver begin with `__deployx_`. They are never exported, not even under
//!   `set -a`.
//!
//! No start-up files are read, with two exceptions outside our reach: zsh always reads
//! `/etc/zsh/zshenv`, and a system may patch its shells. `BASH_ENV` would make bash run a file
//! before the driver: it is withheld from the shell's own environment and exported by the driver,
//! so that programs started by a command see it as they should.

/// The driver of shells with POSIX syntax. `$call` calls a builtin whatever functions there are,
/// `$eval` evaluates.
///
/// In the condition of the inner loop: remember `$?`; switch `allexport` off for as long as the
/// driver assigns; probe `$call`; report the status, which means "ready" the first time; read a
/// line and evaluate it (it assigns the command and the status to restore, or asks for the end).
macro_rules! posix_driver {
    ($call:literal, $eval:literal) => {
        concat!(
            "{ __deployx_n=$1; shift; case $# in 0) ;; *) ",
            $call,
            " export \"$@\"; ",
            $call,
            " set --;; esac; __deployx_e=; } >/dev/null 2>&1; ",
            "while case $__deployx_e in 1) ! :;; esac; do ",
            "while { __deployx_l=$?; ",
            "case $- in *a*) ",
            $call,
            " set +a; __deployx_a=1;; *) __deployx_a=;; esac; ",
            "__deployx_t=; ",
            $call,
            " eval __deployx_t=1; ",
            "case $__deployx_t in 1) ;; *) unset -f ",
            $call,
            "; ",
            $call,
            " eval __deployx_t=1;; esac; ",
            "case $__deployx_t in 1) ",
            $call,
            " echo \"$__deployx_l\" >|{status} && IFS= ",
            $call,
            " read -r __deployx_l <{commands} && ",
            $call,
            " eval \"$__deployx_l\" || __deployx_e=1;; ",
            "*) __deployx_e=1;; esac; ",
            $call,
            " unset __deployx_l; ",
            "case $__deployx_a in 1) ",
            $call,
            " set -a;; esac; ",
            "case $__deployx_e in 1) ! :;; esac; } >/dev/null 2>&1; do ",
            "if { case $__deployx_s in 0) ;; *) (exit \"$__deployx_s\");; esac; } >/dev/null 2>&1; ",
            "then ",
            $eval,
            " \"$__deployx_c\"; else ",
            $eval,
            " \"$__deployx_c\"; fi; done; done"
        )
    };
}

/// `eval` is a special builtin, which no function replaces, and errors in it end the shell as they
/// do in a script.
pub(super) const COMMAND_DRIVER: &str = posix_driver!("command", "eval");

/// For shells in which functions come before every builtin.
pub(super) const BUILTIN_DRIVER: &str = posix_driver!("builtin", "builtin eval");

/// `builtin` is a keyword in fish, and its own `set` leaves `$status` alone.
pub(super) const FISH_DRIVER: &str = concat!(
    "function __deployx_status; return $argv[1]; end; ",
    "builtin set -g __deployx_s 0; builtin set -g __deployx_c; builtin set -g __deployx_e 0; ",
    "while builtin test $__deployx_e = 0; ",
    "while begin; builtin echo $status >{status}; ",
    "and builtin read -z __deployx_c <{commands}; ",
    "and builtin eval $__deployx_c; ",
    "or builtin set -g __deployx_e 1; ",
    "builtin test $__deployx_e = 0; end 2>/dev/null; ",
    "__deployx_status $__deployx_s; builtin eval $__deployx_c; end; end"
);
