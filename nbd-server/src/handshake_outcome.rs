//! How a handshake goes on or ends: what the caller must do, what was agreed, why it failed.

/// What client and server agreed on in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// Simple replies.
    Simple,
    /// Replies are structured chunks.
    Structured {
        /// The context `base:allocation` is selected: the client may ask for the status of blocks.
        block_status: bool,
    },
}

impl Negotiated {
    /// Replies are structured chunks.
    #[must_use]
    pub const fn structured_replies(self) -> bool {
        match self {
            Negotiated::Simple => false,
            Negotiated::Structured { .. } => true,
        }
    }

    /// `BLOCK_STATUS` is answered.
    #[must_use]
    pub const fn block_status(self) -> bool {
        match self {
            Negotiated::Simple => false,
            Negotiated::Structured { block_status } => block_status,
        }
    }
}

/// What the caller must do after [`crate::Handshake::receive`]; in every case it first sends `out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Read more from the client.
    NeedMore {
        /// How many bytes of the input were used: all of them.
        consumed: usize,
    },
    /// The transmission phase begins; this handshake is over.
    Serve {
        /// How many bytes of the input were used; the rest are requests.
        consumed: usize,
        /// What was agreed.
        negotiated: Negotiated,
    },
    /// End the connection; this handshake is over.
    Close {
        /// How many bytes of the input were used; the rest are not to be read.
        consumed: usize,
        /// Why, for the log.
        reason: CloseReason,
    },
}

/// Why a handshake ends without the transmission phase. The text is for the server's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The client said that it is done; not a fault.
    #[error("the client ended the handshake")]
    Aborted,
    /// proto.md "Client flags" demands that the connection is dropped.
    #[error("the client set unknown flags ({flags:#x}); it is not an NBD client this server knows")]
    UnknownClientFlags {
        /// All flags that the client sent.
        flags: u32,
    },
    /// The stream is out of step, or the other end does not speak NBD.
    #[error("an option began with {magic:#018x} instead of IHAVEOPT; the client is broken")]
    WrongOptionMagic {
        /// What came instead of the magic.
        magic: u64,
    },
    /// More data than [`crate::OPTION_SKIP_BYTES_MAX`].
    #[error(
        "option {option} announced {bytes} bytes of data, more than 1 MiB; the client is broken"
    )]
    OptionTooLong {
        /// The number of the option.
        option: u32,
        /// The announced length in bytes.
        bytes: u32,
    },
    /// More than [`crate::OPTIONS_MAX`] options.
    #[error("the client sent more than 512 options without starting; it is broken or hostile")]
    TooManyOptions,
    /// `EXPORT_NAME` with a name that is not a string of the protocol; it has no error reply.
    #[error("the client asked by EXPORT_NAME for a malformed name; use a client that knows GO")]
    MalformedName,
    /// `EXPORT_NAME` for an export that does not exist; it has no error reply.
    #[error("the client asked for an export that does not exist; use the name \"{existing}\"")]
    UnknownExport {
        /// The name of the export that exists.
        existing: String,
    },
    /// `EXPORT_NAME` for an export that is refused; it has no error reply.
    #[error("the export is refused: {message}")]
    ExportRefused {
        /// The text of [`crate::Availability::Refused`].
        message: String,
    },
}
