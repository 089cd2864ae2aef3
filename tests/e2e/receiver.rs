//! A receiver of webhooks in the node's network.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_lab::space::NODE_ADDRESS;
use domicile_lab::{LabError, Result, Space};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

const PORT: u16 = 18_099;
const LIMIT: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 64 * 1024;

/// Keeps what it is sent for as long as the process lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receiver {
    notices: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    /// Listens. Errors: the address is taken, or the space cannot be entered.
    pub(crate) fn begin(space: &Space) -> Result<Self> {
        let receiver = Self::default();
        let inside = space.net_fd(None)?;
        let mine = receiver.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let entered = setns(inside.as_fd(), CloneFlags::CLONE_NEWNET);
            let listening = entered
                .map_err(std::io::Error::from)
                .and_then(|()| TcpListener::bind((NODE_ADDRESS, PORT)));
            let listener = match listening {
                Ok(listener) => listener,
                Err(error) => {
                    drop(tell.send(Err(error)));
                    return;
                }
            };
            drop(tell.send(Ok(())));
            for stream in listener.incoming().flatten() {
                if let Some(notice) = answer(stream) {
                    mine.notices
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(notice);
                }
            }
        });
        let gone = |_| LabError::State("the receiver's thread ended".to_owned());
        told.recv_timeout(LIMIT)
            .map_err(gone)?
            .map_err(LabError::system("listen for webhooks"))?;
        Ok(receiver)
    }

    /// The address for the policy's Secret.
    pub(crate) fn url() -> String {
        format!("http://{NODE_ADDRESS}:{PORT}/hook")
    }

    /// What came so far, in order.
    pub(crate) fn notices(&self) -> Vec<Value> {
        self.notices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Reads one request and answers 200; none if it is no JSON.
fn answer(mut stream: TcpStream) -> Option<Value> {
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let body = loop {
        let length = stream.read(&mut chunk).ok()?;
        bytes.extend_from_slice(chunk.get(..length)?);
        if let Some(body) = complete(&bytes) {
            break body.to_vec();
        }
        if length == 0 || bytes.len() > MOST_BYTES {
            return None;
        }
    };
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(reply).ok()?;
    serde_json::from_slice(&body).ok()
}

fn complete(request: &[u8]) -> Option<&[u8]> {
    let end = request
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(request.get(..end)?)
        .ok()?
        .to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    let length: usize = length.trim().parse().ok()?;
    request.get(end + 4..end + 4 + length)
}
