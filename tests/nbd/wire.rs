//! A raw NBD client over a unix socket: it speaks the wire itself and so can also say what a good
//! client would not.

use nbd_server::proto;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nothing that a healthy server does takes longer; a test that waits longer fails.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// An option that carries more than this as its answer is not from our server.
const OPTION_REPLY_BYTES_MAX: u32 = 64 << 10;

/// A request as it goes over the wire (proto.md "Request message"); nothing is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) flags: u16,
    pub(crate) command: u16,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Ask<'a> {
    /// A read.
    pub(crate) fn read(offset: u64, bytes: u32) -> Ask<'a> {
        Ask { flags: 0, command: proto::CMD_READ, offset, bytes, payload: &[] }
    }

    /// A write of `payload`, which is shorter than 4 GiB.
    pub(crate) fn write(offset: u64, payload: &'a [u8]) -> Ask<'a> {
        let bytes = u32::try_from(payload.len()).expect("invariant: test payloads are short");
        Ask { flags: 0, command: proto::CMD_WRITE, offset, bytes, payload }
    }

    /// A flush.
    pub(crate) fn flush() -> Ask<'a> {
        Ask { flags: 0, command: proto::CMD_FLUSH, offset: 0, bytes: 0, payload: &[] }
    }

    /// Header and payload as bytes.
    pub(crate) fn encode(&self, cookie: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(28 + self.payload.len());
        out.extend(proto::REQUEST_MAGIC.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        out.extend(self.command.to_be_bytes());
        out.extend(cookie.to_be_bytes());
        out.extend(self.offset.to_be_bytes());
        out.extend(self.bytes.to_be_bytes());
        out.extend(self.payload);
        out
    }
}

/// The answer to one option (proto.md "Fixed newstyle negotiation").
#[derive(Clone, Debug)]
pub(crate) struct OptionReply {
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

/// An option as it goes over the wire.
pub(crate) fn encode_option(option: u32, data: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(data.len()).expect("invariant: test options are short");
    let mut out = proto::OPTION_MAGIC.to_be_bytes().to_vec();
    out.extend(option.to_be_bytes());
    out.extend(bytes.to_be_bytes());
    out.extend(data);
    out
}

/// The data of INFO and GO for the export `name`, without information requests.
pub(crate) fn go_data(name: &str) -> Vec<u8> {
    let bytes = u32::try_from(name.len()).expect("invariant: test names are short");
    let mut out = bytes.to_be_bytes().to_vec();
    out.extend(name.as_bytes());
    out.extend(0u16.to_be_bytes());
    out
}

/// The flags that open the client's side of the handshake.
pub(crate) fn client_flags() -> [u8; 4] {
    (proto::FLAG_C_FIXED_NEWSTYLE | proto::FLAG_C_NO_ZEROES).to_be_bytes()
}

/// Connects without a handshake. Reads and writes time out after [`ANSWER_TIMEOUT`].
pub(crate) fn dial(socket: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Reads the greeting and checks it (proto.md "Newstyle negotiation").
pub(crate) fn read_greeting(stream: &mut UnixStream) -> Result<()> {
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting)?;
    let is_good = greeting[..8] == proto::NBD_MAGIC.to_be_bytes()
        && greeting[8..16] == proto::OPTION_MAGIC.to_be_bytes();
    if is_good { Ok(()) } else { Err(broken("the greeting has other magics")) }
}

/// Reads the next answer to `option`.
pub(crate) fn read_option_reply(stream: &mut UnixStream, option: u32) -> Result<OptionReply> {
    if read_u64(stream)? != proto::OPTION_REPLY_MAGIC {
        return Err(broken("an answer to an option begins with another magic"));
    }
    if read_u32(stream)? != option {
        return Err(broken("an answer is to another option"));
    }
    let kind = read_u32(stream)?;
    let bytes = read_u32(stream)?;
    if bytes > OPTION_REPLY_BYTES_MAX {
        return Err(broken("an answer to an option is far too long"));
    }
    let mut data = vec![0; bytes as usize];
    stream.read_exact(&mut data)?;
    Ok(OptionReply { kind, data })
}

/// A client in the transmission phase, with simple replies.
#[derive(Debug)]
pub(crate) struct RawClient {
    /// The connection, for tests that break the rules.
    pub(crate) stream: UnixStream,
    /// Size of the export in bytes, as GO told it.
    pub(crate) size_bytes: u64,
    /// Transmission flags, as GO told them.
    pub(crate) flags: u16,
    next_cookie: u64,
}

impl RawClient {
    /// Connects and chooses the export with the empty name by GO.
    pub(crate) fn connect(socket: &Path) -> Result<RawClient> {
        let mut stream = dial(socket)?;
        read_greeting(&mut stream)?;
        stream.write_all(&client_flags())?;
        stream.write_all(&encode_option(proto::OPT_GO, &go_data("")))?;
        let mut size_and_flags = None;
        loop {
            let OptionReply { kind, data } = read_option_reply(&mut stream, proto::OPT_GO)?;
            match kind {
                proto::REP_ACK => break,
                proto::REP_INFO if data.starts_with(&proto::INFO_EXPORT.to_be_bytes()) => {
                    let size = data[2..10].first_chunk().expect("invariant: eight bytes");
                    let flags = data[10..12].first_chunk().expect("invariant: two bytes");
                    size_and_flags = Some((u64::from_be_bytes(*size), u16::from_be_bytes(*flags)));
                }
                proto::REP_INFO => {}
                _ => {
                    let text = String::from_utf8_lossy(&data).into_owned();
                    return Err(broken(&format!("GO was refused with {kind:#x}: {text}")));
                }
            }
        }
        let Some((size_bytes, flags)) = size_and_flags else {
            return Err(broken("GO told no size"));
        };
        Ok(RawClient { stream, size_bytes, flags, next_cookie: 1 })
    }

    /// Sends a request and says its cookie.
    pub(crate) fn send(&mut self, ask: &Ask<'_>) -> Result<u64> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.stream.write_all(&ask.encode(cookie))?;
        Ok(cookie)
    }

    /// Reads the head of the next simple reply: cookie and error number, zero for success.
    pub(crate) fn reply(&mut self) -> Result<(u64, u32)> {
        if read_u32(&mut self.stream)? != proto::SIMPLE_REPLY_MAGIC {
            return Err(broken("a reply begins with another magic"));
        }
        let errno = read_u32(&mut self.stream)?;
        Ok((read_u64(&mut self.stream)?, errno))
    }

    /// Sends a request without data in its reply, waits for the reply and says its error number.
    pub(crate) fn errno_of(&mut self, ask: &Ask<'_>) -> Result<u32> {
        let sent = self.send(ask)?;
        let (cookie, errno) = self.reply()?;
        if cookie == sent { Ok(errno) } else { Err(broken("the reply is to another request")) }
    }

    /// Writes and expects success.
    pub(crate) fn write_at(&mut self, offset: u64, payload: &[u8]) -> Result<()> {
        match self.errno_of(&Ask::write(offset, payload))? {
            0 => Ok(()),
            errno => Err(Error::from_raw_os_error(errno.cast_signed())),
        }
    }

    /// Flushes and expects success.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match self.errno_of(&Ask::flush())? {
            0 => Ok(()),
            errno => Err(Error::from_raw_os_error(errno.cast_signed())),
        }
    }

    /// Reads and expects success.
    pub(crate) fn read_at(&mut self, offset: u64, bytes: u32) -> Result<Vec<u8>> {
        match self.errno_of(&Ask::read(offset, bytes))? {
            0 => self.read_data(bytes),
            errno => Err(Error::from_raw_os_error(errno.cast_signed())),
        }
    }

    /// Reads the data that follow the head of a good reply to a read.
    pub(crate) fn read_data(&mut self, bytes: u32) -> Result<Vec<u8>> {
        let mut data = vec![0; bytes as usize];
        self.stream.read_exact(&mut data)?;
        Ok(data)
    }

    /// Says goodbye and waits until the server has closed the connection.
    pub(crate) fn disconnect(mut self) -> Result<()> {
        let command = proto::CMD_DISC;
        self.send(&Ask { flags: 0, command, offset: 0, bytes: 0, payload: &[] })?;
        match self.stream.read(&mut [0; 1])? {
            0 => Ok(()),
            _ => Err(broken("the server speaks after the disconnect")),
        }
    }
}

fn read_u32(stream: &mut UnixStream) -> Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64(stream: &mut UnixStream) -> Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
