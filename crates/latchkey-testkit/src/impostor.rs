//! A fake server.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// A fake server that answers everything with the same bytes, or with nothing if there are none.
pub struct Impostor(JoinHandle<()>);

impl Impostor {
    /// Listens on a port that was in use before.
    pub fn on(port: u16, answer: &'static [u8]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1024).unwrap();
        Self(tokio::spawn(async move {
            // Connections end with the impostor.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(repeat(stream, answer));
            }
        }))
    }

    /// Stops the server and waits for its end.
    pub async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn repeat(mut stream: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(answer).await.is_err() {
            return;
        }
    }
}
