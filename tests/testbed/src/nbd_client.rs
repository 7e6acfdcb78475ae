//! A small NBD client whose requests can be left open: for tests that must know what was answered.
//!
//! Fixed newstyle, `NBD_OPT_GO`, simple replies (NBD protocol, sections "Handshake" and
//! "Transmission"). One Unix connection, no TLS.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

/// Longest silence of the server before the client gives up.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// `NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES`.
const CLIENT_FLAGS: u32 = 3;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const INFO_EXPORT: u16 = 0;
/// Replies to options with this bit are errors with a text.
const REPLY_ERROR_BIT: u32 = 1 << 31;
/// `NBD_CMD_FLAG_FUA`.
const FLAG_FUA: u16 = 1;
/// Longest reply to an option that is believed, in bytes.
const OPTION_REPLY_BYTES_MAX: u32 = 64 << 10;

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub enum NbdError {
    /// The connection is gone, or the server was silent for 30 s.
    #[error("the NBD connection is gone: {0}; look into the daemon's log")]
    Connection(#[from] io::Error),
    /// The server does not serve the export.
    #[error("the export is refused with reply {kind:#010x}: {text}")]
    Refused {
        /// The type of the reply (`NBD_REP_ERR_...`).
        kind: u32,
        /// The server's reason.
        text: String,
    },
    /// The request failed.
    #[error("the server answered with NBD error {errno}; look into the daemon's log")]
    Failed {
        /// The error's number in the NBD protocol.
        errno: u32,
    },
    /// The server does not speak NBD as expected.
    #[error("the server breaks the NBD protocol: {what}")]
    Protocol {
        /// What is wrong.
        what: String,
    },
}

fn broken<T>(what: impl Into<String>) -> Result<T, NbdError> {
    Err(NbdError::Protocol { what: what.into() })
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read so many bytes.
    Read,
    /// Write the payload.
    Write {
        /// Durable when answered.
        fua: bool,
    },
    /// Make durable what was answered.
    Flush,
}

impl Command {
    const fn flags_and_type(self) -> (u16, u16) {
        match self {
            Self::Read => (0, 0),
            Self::Write { fua: false } => (0, 1),
            Self::Write { fua: true } => (FLAG_FUA, 1),
            Self::Flush => (0, 3),
        }
    }
}

/// A connection in the transmission phase.
#[derive(Debug)]
pub struct NbdClient {
    stream: UnixStream,
    size_bytes: u64,
}

impl NbdClient {
    /// Connects to a socket and opens an export.
    ///
    /// # Errors
    /// Nobody listens, the export is refused, or the server does not speak NBD.
    pub fn open(socket: &Path, export: &str) -> Result<Self, NbdError> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let greeting: [u8; 18] = take(&mut stream)?;
        if greeting[..8] != GREETING_MAGIC.to_be_bytes()
            || greeting[8..16] != OPTION_MAGIC.to_be_bytes()
        {
            return broken("it greets with something else");
        }
        let name_bytes = u32::try_from(export.len()).expect("invariant: a test's name is short");
        let mut bytes = CLIENT_FLAGS.to_be_bytes().to_vec();
        bytes.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
        bytes.extend_from_slice(&OPTION_GO.to_be_bytes());
        bytes.extend_from_slice(&(name_bytes + 6).to_be_bytes());
        bytes.extend_from_slice(&name_bytes.to_be_bytes());
        bytes.extend_from_slice(export.as_bytes());
        bytes.extend_from_slice(&0_u16.to_be_bytes());
        stream.write_all(&bytes)?;
        let size_bytes = opened(&mut stream)?;
        Ok(Self { stream, size_bytes })
    }

    /// Size of the device, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Sends a request and does not wait. `cookie` comes back with the reply.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(
        &mut self,
        command: Command,
        cookie: u64,
        offset: u64,
        length_bytes: u32,
        payload: &[u8],
    ) -> Result<(), NbdError> {
        let (flags, kind) = command.flags_and_type();
        let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&cookie.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&length_bytes.to_be_bytes());
        bytes.extend_from_slice(payload);
        Ok(self.stream.write_all(&bytes)?)
    }

    /// The next reply to a request without data to read: its cookie.
    ///
    /// # Errors
    /// The connection is gone, or the request failed.
    pub fn receive(&mut self) -> Result<u64, NbdError> {
        let head: [u8; 16] = take(&mut self.stream)?;
        let [m0, m1, m2, m3, e0, e1, e2, e3, cookie @ ..] = head;
        if u32::from_be_bytes([m0, m1, m2, m3]) != SIMPLE_REPLY_MAGIC {
            return broken("a reply begins with something else");
        }
        match u32::from_be_bytes([e0, e1, e2, e3]) {
            0 => Ok(u64::from_be_bytes(cookie)),
            errno => Err(NbdError::Failed { errno }),
        }
    }

    /// Reads; nothing else may be open.
    ///
    /// # Errors
    /// The connection is gone, or the request failed.
    pub fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), NbdError> {
        let length = u32::try_from(into.len()).expect("invariant: a test reads less than 4 GiB");
        self.send(Command::Read, offset, offset, length, &[])?;
        self.receive()?;
        Ok(self.stream.read_exact(into)?)
    }

    /// Writes and waits for the answer; nothing else may be open.
    ///
    /// # Errors
    /// The connection is gone, or the request failed.
    pub fn write(&mut self, offset: u64, data: &[u8], fua: bool) -> Result<(), NbdError> {
        let length = u32::try_from(data.len()).expect("invariant: a test writes less than 4 GiB");
        self.send(Command::Write { fua }, offset, offset, length, data)?;
        self.receive().map(|_| ())
    }

    /// Flushes and waits for the answer; nothing else may be open.
    ///
    /// # Errors
    /// The connection is gone, or the request failed.
    pub fn flush(&mut self) -> Result<(), NbdError> {
        self.send(Command::Flush, 0, 0, 0, &[])?;
        self.receive().map(|_| ())
    }

    /// Sends bytes as they are, to see what the server makes of them.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}

/// The head of a write request of `length_bytes`, without its payload.
#[must_use]
pub fn write_head(offset: u64, length_bytes: u32) -> Vec<u8> {
    let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
    let (flags, kind) = Command::Write { fua: false }.flags_and_type();
    bytes.extend_from_slice(&flags.to_be_bytes());
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.extend_from_slice(&length_bytes.to_be_bytes());
    bytes
}

/// Reads the replies to `NBD_OPT_GO`; gives the size of the export.
fn opened(stream: &mut UnixStream) -> Result<u64, NbdError> {
    let mut size_bytes = None;
    loop {
        let magic = u64::from_be_bytes(take(stream)?);
        let _option: [u8; 4] = take(stream)?;
        let kind = u32::from_be_bytes(take(stream)?);
        let length = u32::from_be_bytes(take(stream)?);
        if magic != OPTION_REPLY_MAGIC || length > OPTION_REPLY_BYTES_MAX {
            return broken("a reply to an option begins with something else");
        }
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data)?;
        match kind {
            REPLY_ACK => {
                return size_bytes.map_or_else(|| broken("it told no size"), Ok);
            }
            REPLY_INFO if data.len() == 12 && data[..2] == INFO_EXPORT.to_be_bytes() => {
                size_bytes = data[2..10].try_into().ok().map(u64::from_be_bytes);
            }
            REPLY_INFO => {}
            kind if kind & REPLY_ERROR_BIT != 0 => {
                let text = String::from_utf8_lossy(&data).into_owned();
                return Err(NbdError::Refused { kind, text });
            }
            kind => return broken(format!("reply {kind:#x} to an option")),
        }
    }
}

fn take<const BYTES: usize>(stream: &mut UnixStream) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{Server, tied};
    use crate::scratch::Scratch;
    use crate::skips::require_tool;
    use crate::wait::wait_until;

    #[test]
    fn it_reads_what_it_wrote_through_a_server_of_others() {
        let Some(nbdkit) = require_tool("nbdkit") else { return };
        let scratch = Scratch::new();
        let socket = scratch.path().join("socket");
        let mut command = tied(nbdkit);
        command.args(["-f", "-U"]).arg(&socket).args(["memory", "1M"]);
        let _server = Server::start(command, &scratch.path().join("log"));
        wait_until("nbdkit listens", ANSWER_MAX, || UnixStream::connect(&socket).is_ok());
        let mut client = NbdClient::open(&socket, "").unwrap();
        assert_eq!(client.size_bytes(), 1 << 20);
        client.write(4096, &[7; 8192], true).unwrap();
        client.flush().unwrap();
        let mut back = [0; 8192];
        client.read(4096, &mut back).unwrap();
        assert_eq!(back, [7; 8192]);
        let beyond = client.write(1 << 20, &[7; 512], false);
        assert!(matches!(beyond, Err(NbdError::Failed { .. })), "{beyond:?}");
    }
}
