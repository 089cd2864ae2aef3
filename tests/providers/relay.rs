//! A relay that cuts every connection after a number of messages, or lets it fall silent, to end a
//! call at any of its statements without a hook in the code that is tested.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of a connection once the messages are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Cut,
    Silence,
}

/// Ends with this value.
pub(crate) struct Relay {
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens on `address`, for the server's certificate names it, and passes on `messages`
    /// writes of clients, over all connections together.
    pub(crate) async fn cutting(address: Ipv4Addr, port: u16, messages: i64) -> Self {
        Self::start(address, (address, port).into(), (messages, End::Cut)).await
    }

    /// The same, and then nothing comes through any more, in neither direction.
    pub(crate) async fn hushing(address: Ipv4Addr, port: u16, messages: i64) -> Self {
        Self::start(address, (address, port).into(), (messages, End::Silence)).await
    }

    /// Listens on an address that the server's certificate does not name, and passes on all.
    pub(crate) async fn misnamed(address: Ipv4Addr, server: (Ipv4Addr, u16)) -> Self {
        Self::start(address, server.into(), (i64::MAX, End::Cut)).await
    }

    async fn start(address: Ipv4Addr, server: SocketAddr, (messages, end): (i64, End)) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(messages));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (cut, cut_seen) = watch::channel(false);
            let cut = Arc::new(cut);
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (cut, left, mut seen) = (cut.clone(), left.clone(), cut_seen.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = carry(client, server, &left, end) => {
                            cut.send_replace(left_none(&left));
                        }
                        _ = seen.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self {
            port,
            _tasks: tasks,
        }
    }
}

fn left_none(left: &AtomicI64) -> bool {
    left.load(Ordering::SeqCst) <= 0
}

async fn carry(client: TcpStream, server: SocketAddr, left: &AtomicI64, end: End) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_client.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return;
            }
            if left.fetch_sub(1, Ordering::SeqCst) <= 0 {
                match end {
                    End::Cut => return,
                    End::Silence => std::future::pending().await,
                }
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        drop(tokio::io::copy(&mut from_server, &mut to_client).await);
    };
    tokio::select! { () = up => {}, () = down => {} }
}
