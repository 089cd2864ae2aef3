//! Where a server runs, and how programs are run beside it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::Uid;

use crate::error::Result;
use crate::process::{self, Output};
use crate::space::Space;

/// The unprivileged user that owns servers and their files: `nobody`, which every Linux has.
/// PostgreSQL refuses uid 0, and initdb wants a user that the user database knows.
const SERVER_UID: u32 = 65534;

/// Where a server's processes live.
#[derive(Debug, Clone)]
pub enum Place {
    /// This machine's own network; the server is a child of this process and ends with it.
    Loopback,
    /// A network namespace of the lab's private space; the server outlives this process.
    Space {
        /// The space.
        space: Space,
        /// Name of the network namespace.
        netns: String,
    },
}

/// On whose behalf a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The user of this process.
    Caller,
    /// The owner of the server.
    Server,
}

impl Place {
    /// A command for `program` in this place that is ended after `limit`.
    pub(crate) fn command(&self, run_as: RunAs, limit: Duration, program: &Path) -> Command {
        let mut command = match self {
            Self::Loopback => Command::new("/usr/bin/timeout"),
            Self::Space { space, netns } => space.command(Some(netns), "/usr/bin/timeout"),
        };
        clean_environment(&mut command);
        command.args(["--kill-after=1", &format!("{:.1}", limit.as_secs_f32())]);
        if let (RunAs::Server, Some(uid)) = (run_as, server_uid()) {
            command.arg("/usr/bin/setpriv").args(drop_privileges(uid));
        }
        command.arg(program);
        command
    }
}

/// The uid (and gid) that servers run as; none when this process is unprivileged itself.
pub(crate) fn server_uid() -> Option<u32> {
    Uid::effective().is_root().then_some(SERVER_UID)
}

/// The arguments that make `setpriv` give up root for `uid`.
pub(crate) fn drop_privileges(uid: u32) -> [String; 3] {
    [
        format!("--reuid={uid}"),
        format!("--regid={uid}"),
        "--clear-groups".to_owned(),
    ]
}

/// The whole environment of servers and clients. Nothing of the caller's: neither a `PG*`
/// variable nor certificates in its home folder may steer them.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/nonexistent"),
];

/// Gives a command [`ENVIRONMENT`] instead of the caller's, and `/` to work in.
pub(crate) fn clean_environment(command: &mut Command) {
    command.env_clear().envs(ENVIRONMENT).current_dir("/");
}

/// Runs a command of [`Place::command`] with `input`. The command
/// ends itself at `limit`; this side waits a little longer for that.
pub(crate) fn run(mut command: Command, limit: Duration, input: &str) -> Result<Output> {
    let grace = Duration::from_secs(5);
    process::run_input(&mut command, input, limit + grace)
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
