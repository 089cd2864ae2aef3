//! Clients on the host that talk to servers in the space: a tokio runtime whose threads live in
//! one of its network namespaces.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sched::{CloneFlags, setns};
use tokio::runtime::{Builder, Runtime};

use crate::error::{LabError, Result};
use crate::space::Space;

/// A runtime inside a network namespace.
#[derive(Debug)]
pub struct SpaceRuntime {
    runtime: Runtime,
    inside: Arc<OwnedFd>,
    strayed: Arc<AtomicBool>,
}

/// A runtime whose worker and blocking threads are in `netns` (none is the node's).
pub fn runtime_in(space: &Space, netns: Option<&str>) -> Result<SpaceRuntime> {
    let inside = Arc::new(space.net_fd(netns)?);
    let strayed = Arc::new(AtomicBool::new(false));
    let (namespace, outside) = (Arc::clone(&inside), Arc::clone(&strayed));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || {
            if setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).is_err() {
                outside.store(true, Ordering::SeqCst);
            }
        })
        .build()
        .map_err(LabError::system("start a runtime"))?;
    Ok(SpaceRuntime {
        runtime,
        inside,
        strayed,
    })
}

impl SpaceRuntime {
    /// Runs a future to its end with the calling thread, too, inside the namespace; the thread
    /// is back in its own one afterwards, even after a panic.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output> {
        let entering = || LabError::system("enter a network namespace");
        let home = own_namespace()?;
        setns(self.inside.as_fd(), CloneFlags::CLONE_NEWNET).map_err(entering())?;
        let back = Back(home);
        let output = self.runtime.block_on(future);
        drop(back);
        if self.strayed.load(Ordering::SeqCst) {
            return Err(LabError::State(
                "a thread could not enter the namespace".to_owned(),
            ));
        }
        Ok(output)
    }

    /// To spawn tasks from elsewhere.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }
}

fn own_namespace() -> Result<File> {
    let path = Path::new("/proc/thread-self/ns/net");
    File::open(path).map_err(LabError::file("open", path))
}

struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        // The descriptor was open before the move, so that the way back cannot be missing.
        let _ = setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET);
    }
}
