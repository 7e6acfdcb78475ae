//! A small NBD client: fixed newstyle with GO, simple replies, blocking. It shares no code with the
//! server, so that a mistake is not made twice. Section names are those of the NBD protocol
//! (proto.md).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use thiserror::Error;

const NBD_MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// NBD_FLAG_C_FIXED_NEWSTYLE and NBD_FLAG_C_NO_ZEROES.
const CLIENT_FLAGS: u32 = 3;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
/// Option replies with this bit are errors.
const REPLY_ERROR_BIT: u32 = 1 << 31;
const INFO_EXPORT: u16 = 0;
const COMMAND_READ: u16 = 0;
const COMMAND_WRITE: u16 = 1;
const COMMAND_DISCONNECT: u16 = 2;
/// Longest option reply that is believed, in bytes.
const OPTION_REPLY_BYTES_MAX: u32 = 64 << 10;
/// A server that is silent for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Why NBD did not work.
#[derive(Debug, Error)]
pub enum NbdError {
    /// The connection failed.
    #[error("the NBD connection broke: {0}; look into the daemon's log")]
    Broken(#[from] io::Error),
    /// The server does not offer the export.
    #[error("the export is refused: {0}; is this node Primary?")]
    Refused(String),
    /// The server answers a request with an error.
    #[error("the server reports error {errno} for a request; look into the daemon's log")]
    Request {
        /// As NBD numbers it, section "Error values".
        errno: u32,
    },
    /// What came is not NBD.
    #[error("the server does not speak NBD as expected: {0}; is this its NBD socket?")]
    Protocol(&'static str),
}

/// A connection in the transmission phase.
#[derive(Debug)]
pub(super) struct NbdClient {
    stream: UnixStream,
    size_bytes: u64,
    next_cookie: u64,
}

impl NbdClient {
    /// Connects to `socket` and opens `export`.
    pub(super) fn connect(socket: &Path, export: &str) -> Result<Self, NbdError> {
        Self::negotiate(UnixStream::connect(socket)?, export)
    }

    /// Section "Fixed newstyle negotiation", with NBD_OPT_GO.
    fn negotiate(mut stream: UnixStream, export: &str) -> Result<Self, NbdError> {
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let (nbd, option) = (read_u64(&mut stream)?, read_u64(&mut stream)?);
        if (nbd, option) != (NBD_MAGIC, OPTION_MAGIC) {
            return Err(NbdError::Protocol("wrong greeting"));
        }
        read::<2>(&mut stream)?;
        let name_bytes = u32::try_from(export.len()).expect("invariant: export names are short");
        let mut hello = CLIENT_FLAGS.to_be_bytes().to_vec();
        hello.extend(OPTION_MAGIC.to_be_bytes());
        hello.extend(OPTION_GO.to_be_bytes());
        hello.extend((4 + name_bytes + 2).to_be_bytes());
        hello.extend(name_bytes.to_be_bytes());
        hello.extend(export.as_bytes());
        hello.extend(0_u16.to_be_bytes());
        stream.write_all(&hello)?;
        let mut size_bytes = None;
        loop {
            let (kind, data) = read_option_reply(&mut stream)?;
            match kind {
                REPLY_INFO => size_bytes = export_size(&data)?.or(size_bytes),
                REPLY_ACK => break,
                error if error & REPLY_ERROR_BIT != 0 => {
                    return Err(NbdError::Refused(String::from_utf8_lossy(&data).into_owned()));
                }
                _ => return Err(NbdError::Protocol("unknown option reply")),
            }
        }
        let size_bytes = size_bytes.ok_or(NbdError::Protocol("no size before the end of GO"))?;
        Ok(Self { stream, size_bytes, next_cookie: 0 })
    }

    /// Size of the device in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Sends a write and returns its cookie; [`NbdClient::receive`] brings the answer.
    pub(super) fn send_write(&mut self, offset: u64, data: &[u8]) -> Result<u64, NbdError> {
        let cookie = self.send(COMMAND_WRITE, offset, data.len(), data)?;
        Ok(cookie)
    }

    /// The cookie of the next request that is answered; an answer that is an error ends everything
    /// here.
    pub(super) fn receive(&mut self) -> Result<u64, NbdError> {
        if u32::from_be_bytes(read(&mut self.stream)?) != SIMPLE_REPLY_MAGIC {
            return Err(NbdError::Protocol("no simple reply"));
        }
        let errno = u32::from_be_bytes(read(&mut self.stream)?);
        let cookie = read_u64(&mut self.stream)?;
        if errno == 0 { Ok(cookie) } else { Err(NbdError::Request { errno }) }
    }

    /// Reads into `buffer`; no other request may be open.
    pub(super) fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<(), NbdError> {
        let cookie = self.send(COMMAND_READ, offset, buffer.len(), &[])?;
        if self.receive()? != cookie {
            return Err(NbdError::Protocol("an answer to another request"));
        }
        self.stream.read_exact(buffer)?;
        Ok(())
    }

    /// Ends the connection in order, so that the server need not wonder.
    pub(super) fn disconnect(mut self) -> Result<(), NbdError> {
        self.send(COMMAND_DISCONNECT, 0, 0, &[])?;
        Ok(())
    }

    /// Section "Request message".
    fn send(
        &mut self,
        command: u16,
        offset: u64,
        bytes: usize,
        data: &[u8],
    ) -> Result<u64, NbdError> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        let bytes = u32::try_from(bytes).expect("invariant: requests are at most some MiB");
        let mut frame = Vec::with_capacity(28 + data.len());
        frame.extend(REQUEST_MAGIC.to_be_bytes());
        frame.extend(0_u16.to_be_bytes());
        frame.extend(command.to_be_bytes());
        frame.extend(cookie.to_be_bytes());
        frame.extend(offset.to_be_bytes());
        frame.extend(bytes.to_be_bytes());
        frame.extend(data);
        self.stream.write_all(&frame)?;
        Ok(cookie)
    }
}

fn read<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_u64(stream: &mut UnixStream) -> io::Result<u64> {
    read(stream).map(u64::from_be_bytes)
}

fn read_option_reply(stream: &mut UnixStream) -> Result<(u32, Vec<u8>), NbdError> {
    if read_u64(stream)? != OPTION_REPLY_MAGIC {
        return Err(NbdError::Protocol("no option reply"));
    }
    if u32::from_be_bytes(read(stream)?) != OPTION_GO {
        return Err(NbdError::Protocol("a reply to another option"));
    }
    let kind = u32::from_be_bytes(read(stream)?);
    let bytes = u32::from_be_bytes(read(stream)?);
    if bytes > OPTION_REPLY_BYTES_MAX {
        return Err(NbdError::Protocol("an endless option reply"));
    }
    let mut data = vec![0; bytes as usize];
    stream.read_exact(&mut data)?;
    Ok((kind, data))
}

/// The size in an NBD_INFO_EXPORT; other information is not needed.
fn export_size(info: &[u8]) -> Result<Option<u64>, NbdError> {
    let short = NbdError::Protocol("a short NBD_REP_INFO");
    let (kind, rest) = info.split_first_chunk::<2>().ok_or(NbdError::Protocol("an empty info"))?;
    if u16::from_be_bytes(*kind) != INFO_EXPORT {
        return Ok(None);
    }
    let (size, _) = rest.split_first_chunk::<8>().ok_or(short)?;
    Ok(Some(u64::from_be_bytes(*size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn option_reply(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
        reply.extend(OPTION_GO.to_be_bytes());
        reply.extend(kind.to_be_bytes());
        reply.extend((data.len() as u32).to_be_bytes());
        reply.extend(data);
        reply
    }

    /// Greets, then plays `script`: (bytes to wait for, answer), and returns all that the client
    /// sent.
    fn against(script: Vec<(usize, Vec<u8>)>, client: impl FnOnce(UnixStream)) -> Vec<u8> {
        let (here, mut there) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            there.write_all(b"NBDMAGICIHAVEOPT\0\x03").unwrap();
            let mut seen = Vec::new();
            for (bytes, answer) in script {
                let mut request = vec![0; bytes];
                there.read_exact(&mut request).unwrap();
                seen.extend(request);
                there.write_all(&answer).unwrap();
            }
            // A client that gives up in the middle resets the connection.
            there.read_to_end(&mut seen).ok();
            seen
        });
        client(here);
        server.join().unwrap()
    }

    /// Bytes of the client's flags and its GO for the export "demo".
    const HELLO_BYTES: usize = 4 + 16 + 4 + 4 + 2;

    fn go_answer() -> Vec<u8> {
        let mut info = INFO_EXPORT.to_be_bytes().to_vec();
        info.extend((1_u64 << 20).to_be_bytes());
        info.extend(0x0d_u16.to_be_bytes());
        let block_size = [0, 3, 0, 0, 2, 0, 0, 0, 16, 0, 2, 0, 0, 0];
        [option_reply(3, &block_size), option_reply(3, &info), option_reply(1, &[])].concat()
    }

    fn simple_reply(errno: u32, cookie: u64) -> Vec<u8> {
        [&SIMPLE_REPLY_MAGIC.to_be_bytes()[..], &errno.to_be_bytes(), &cookie.to_be_bytes()]
            .concat()
    }

    #[test]
    fn a_session_goes_through_its_phases_byte_by_byte() {
        let read_answer = [simple_reply(0, 2), vec![7; 512]].concat();
        let write_bytes = 28 + 4096;
        let script = vec![
            (HELLO_BYTES, go_answer()),
            (2 * write_bytes, [simple_reply(0, 1), simple_reply(0, 0)].concat()),
            (28, read_answer),
        ];
        let seen = against(script, |stream| {
            let mut client = NbdClient::negotiate(stream, "demo").unwrap();
            assert_eq!(client.size_bytes(), 1 << 20);
            assert_eq!(client.send_write(4096, &[1; 4096]).unwrap(), 0);
            assert_eq!(client.send_write(8192, &[2; 4096]).unwrap(), 1);
            assert_eq!((client.receive().unwrap(), client.receive().unwrap()), (1, 0));
            let mut buffer = [0; 512];
            client.read(1 << 19, &mut buffer).unwrap();
            assert_eq!(buffer, [7; 512]);
            client.disconnect().unwrap();
        });
        let hello = b"\0\0\0\x03IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x04demo\0\0";
        assert_eq!(&seen[..HELLO_BYTES], hello);
        let write = &seen[HELLO_BYTES..HELLO_BYTES + 28];
        assert_eq!(&write[..8], b"\x25\x60\x95\x13\0\0\0\x01");
        assert_eq!(&write[8..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\x10\0");
        let disconnect = &seen[seen.len() - 28..];
        assert_eq!(&disconnect[..8], b"\x25\x60\x95\x13\0\0\0\x02");
    }

    #[test]
    fn a_refused_export_brings_the_servers_words() {
        let refusal = option_reply(REPLY_ERROR_BIT | 2, b"Secondary");
        against(vec![(HELLO_BYTES, refusal)], |stream| {
            let error = NbdClient::negotiate(stream, "demo").unwrap_err().to_string();
            assert!(error.contains("refused: Secondary"), "{error}");
        });
    }

    #[test]
    fn an_error_answer_and_a_wrong_answer_are_told_apart() {
        let script = vec![(HELLO_BYTES, go_answer()), (28, simple_reply(5, 0))];
        against(script, |stream| {
            let mut client = NbdClient::negotiate(stream, "demo").unwrap();
            let error = client.read(0, &mut [0; 512]).unwrap_err();
            assert!(matches!(error, NbdError::Request { errno: 5 }), "{error}");
        });
        let script = vec![(HELLO_BYTES, go_answer()), (28, vec![0; 16])];
        against(script, |stream| {
            let mut client = NbdClient::negotiate(stream, "demo").unwrap();
            let error = client.read(0, &mut [0; 512]).unwrap_err();
            assert!(matches!(error, NbdError::Protocol(_)), "{error}");
        });
    }
}
