//! Something that speaks the peer protocol in a node's place: one link, message by message.

use replicator::ids::NodeIndex;
use replicator::message::{Hello, Message, NONCE_BYTES};
use replicator::wire::{HEADER_BYTES, WireError, decode_body, decode_head, encode};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Longest wait for the node at the other end.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Why no message came.
#[derive(Debug, Error)]
pub enum FakePeerError {
    /// The connection ended or nothing came in 15 s.
    #[error("the node closed the link or said nothing: {0}; look into its log")]
    Link(#[from] io::Error),
    /// What came is no message.
    #[error("the node sent no message: {0}")]
    Wire(#[from] WireError),
}

/// A link to a node.
#[derive(Debug)]
pub struct FakePeer {
    stream: TcpStream,
}

impl FakePeer {
    /// Dials a node.
    ///
    /// # Errors
    /// It does not listen.
    pub fn dial(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, ANSWER_MAX)?)
    }

    /// Listens in a node's place and takes the first link that is dialled to it.
    ///
    /// # Errors
    /// The address is in use, or nobody dials within 15 s.
    pub fn accept(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let begun = Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return Self::over(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if begun.elapsed() > ANSWER_MAX {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody dialled"));
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        Ok(Self { stream })
    }

    /// Sends a message that carries no payload.
    ///
    /// # Errors
    /// The link is gone.
    pub fn send(&mut self, message: &Message) -> io::Result<()> {
        let mut frame = Vec::new();
        encode(message, None, &mut frame);
        self.stream.write_all(&frame)
    }

    /// The next message; a payload is read and dropped.
    ///
    /// # Errors
    /// The link ended, nothing came in 15 s, or what came is no message.
    pub fn receive(&mut self) -> Result<Message, FakePeerError> {
        let mut head_bytes = [0; HEADER_BYTES];
        self.stream.read_exact(&mut head_bytes)?;
        let head = decode_head(&head_bytes)?;
        let mut body = vec![0; head.body_bytes as usize];
        self.stream.read_exact(&mut body)?;
        let message = decode_body(&head, &head_bytes, &body)?;
        let mut payload = vec![0; head.data_bytes as usize];
        self.stream.read_exact(&mut payload)?;
        Ok(message)
    }
}

/// The greeting of a node that speaks the protocol versions `first` to `last`.
#[must_use]
pub fn hello(node: NodeIndex, name: &str, resource: &str, versions: (u16, u16)) -> Hello {
    Hello {
        version_min: versions.0,
        version_max: versions.1,
        node,
        node_name: name.to_owned(),
        resource: resource.to_owned(),
        nonce: [0x5a; NONCE_BYTES],
        secret: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    #[test]
    fn what_one_fake_says_the_other_hears() {
        let address = Network::loopback().address(0);
        let listening = std::thread::spawn(move || FakePeer::accept(address).unwrap());
        let mut dialled = loop {
            if let Ok(peer) = FakePeer::dial(address) {
                break peer;
            }
        };
        let mut accepted = listening.join().unwrap();
        let greeting = Message::Hello(hello(NodeIndex::Second, "b", "r0", (7, 9)));
        dialled.send(&greeting).unwrap();
        assert_eq!(accepted.receive().unwrap(), greeting);
        drop(dialled);
        assert!(matches!(accepted.receive(), Err(FakePeerError::Link(_))));
    }
}
