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
/// `$eval` evaluates, `$first` deals with the first argument, `$fail` fails and calls nothing (of any
/// word somebody may have made a function), `$say` says that the shell cannot be driven, `$or` stands
/// behind the inner loop's condition.
///
/// In the condition of the inner loop: remember `$?`; switch `allexport` off for as long as the
/// driver assigns; probe `$call`; report the status, which means "ready" the first time; read a
/// line and evaluate it (it assigns the command and the status to restore, or asks for the end);
/// say that the command begins. What a message assigns, and whether an end was asked for, is set by
/// every message anew: what a command left in these variables counts for nothing.
///
/// Both loops end where the shell does not carry out their conditions: `until` ends when commands
/// are passed over (`set -n`, a trap of bash's `extdebug`), since they count as successful then, and
/// its negated group when nothing can be redirected (a restricted shell, no descriptors left). The
/// shell then ends with the status of its last command. The outer loop goes on only after a stray
/// `break`: the condition of the inner one was tried since (`_k`), and redirecting is possible (`_j`).
///
/// `IFS` is left as it is, since it may be read-only; a message has nothing at its ends that `read`
/// could take away.
macro_rules! posix_driver {
    {
        call: $call:literal, eval: $eval:literal, first: $first:literal,
        fail: $fail:literal, say: $say:literal, or: $or:literal $(,)?
    } => {
        concat!(
            "{ ",
            $first,
            "; case $# in 0) ;; *) ",
            $call,
            " export \"$@\"; ",
            $call,
            " set --;; esac; __deployx_e=; __deployx_k=1; } >/dev/null 2>&1; ",
            "until { __deployx_j=; ",
            $call,
            " unset __deployx_j; case ${__deployx_e-} in 1) ;; *) ",
            "case ${__deployx_k-} in 1) __deployx_j=1;; esac; __deployx_k=; ",
            $fail,
            ";; esac; } 2>/dev/null || case ${__deployx_j-} in 1) ",
            $fail,
            ";; *) ",
            $say,
            " case 1 in 1) ;; esac;; esac; do case 1 in 1) ;; esac; ",
            "until ! { { __deployx_l=$?; ",
            "case $- in *a*) ",
            $call,
            " set +a; __deployx_a=1;; *) __deployx_a=;; esac; ",
            $call,
            " unset __deployx_k; __deployx_k=1; __deployx_t=; ",
            $call,
            " eval __deployx_t=1; ",
            "case $__deployx_t in 1) ;; *) unset -f ",
            $call,
            "; ",
            $call,
            " eval __deployx_t=1;; esac; ",
            "case $__deployx_t in 1) ",
            $call,
            " echo \"$__deployx_l\" >|{status} && ",
            $call,
            " read -r __deployx_l <{commands} && ",
            $call,
            " eval \"$__deployx_l\" && case $__deployx_e in 1) ;; *) ",
            $call,
            " echo + >|{status};; esac || __deployx_e=1;; ",
            "*) __deployx_e=1;; esac; ",
            $call,
            " unset __deployx_l __deployx_j; ",
            "case $__deployx_a in 1) ",
            $call,
            " set -a;; esac; ",
            "! case $__deployx_e in 1) ;; *) ",
            $fail,
            ";; esac; } >/dev/null 2>&1; }",
            $or,
            "; do if { case $__deployx_s in 0) ;; *) (exit \"$__deployx_s\");; esac; } >/dev/null 2>&1; ",
            "then ",
            $eval,
            " \"$__deployx_c\"; else ",
            $eval,
            " \"$__deployx_c\"; fi; done; done"
        )
    };
}

/// `eval` is a special builtin, which no function replaces, and errors in it end the shell as they
/// do in a script. The line break is a constant.
pub(super) const COMMAND_DRIVER: &str = posix_driver! {
    call: "command",
    eval: "eval",
    first: "__deployx_n=$1; command readonly __deployx_n; shift",
    fail: "! case 1 in 1) ;; esac",
    say: "(case ${__deployx:?the shell can no longer be driven, and ends} in 1) ;; esac) ||",
    or: "",
};

/// In bash functions come before every builtin.
pub(super) const BASH_DRIVER: &str = posix_driver! {
    call: "builtin",
    eval: "builtin eval",
    first: "shift",
    fail: "! case 1 in 1) ;; esac",
    say: "(case ${__deployx:?the shell can no longer be driven, and ends} in 1) ;; esac) ||",
    or: "",
};

/// So they do in zsh. Under `set -n` it passes over commands, but not over their negation: another one
/// makes up for that. It cannot say anything without descriptors, and its own words are clear.
pub(super) const ZSH_DRIVER: &str = posix_driver! {
    call: "builtin",
    eval: "builtin eval",
    first: "shift",
    fail: "! { }",
    say: "",
    or: " || ! { }",
};

/// `builtin` is a keyword in fish, and its own `set` leaves `$status` alone. As above, the outer loop
/// goes on only where the condition of the inner one was met.
pub(super) const FISH_DRIVER: &str = concat!(
    "function __deployx_status; return $argv[1]; end; ",
    "builtin set -g __deployx_s 0; builtin set -g __deployx_c; builtin set -g __deployx_e 0; ",
    "builtin set -g __deployx_k 1; ",
    "while builtin test \"$__deployx_e$__deployx_k\" = 01; ",
    "builtin set -g __deployx_k 0; ",
    "while begin; builtin echo $status >{status}; ",
    "and builtin read -z __deployx_c <{commands}; ",
    "and builtin eval $__deployx_c; ",
    "and begin; builtin test $__deployx_e = 1; or builtin echo + >{status}; end; ",
    "or builtin set -g __deployx_e 1; ",
    "builtin set -g __deployx_k 1; ",
    "builtin test $__deployx_e = 0; end 2>/dev/null; ",
    "__deployx_status $__deployx_s; builtin eval $__deployx_c; end; ",
    "builtin set -g __deployx_l $status; ",
    "builtin test $__deployx_k = 1; and builtin set -g __deployx_x $__deployx_l; end; ",
    "__deployx_status $__deployx_x"
);
