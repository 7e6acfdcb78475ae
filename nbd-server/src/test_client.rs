//! The client's half of the handshake, for tests: builds options and splits replies.

use crate::export::{Availability, Export};
use crate::handshake::Handshake;
use crate::handshake_outcome::Progress;
use crate::proto::{
    FLAG_C_FIXED_NEWSTYLE, FLAG_C_NO_ZEROES, OPTION_MAGIC, OPTION_REPLY_MAGIC, REP_ACK,
};
use crate::wire::{take_bytes, take_u32, take_u64};

pub(crate) const FLAGS: u32 = FLAG_C_FIXED_NEWSTYLE | FLAG_C_NO_ZEROES;
pub(crate) const REFUSAL_TEXT: &str = "r0 is Secondary here; connect to the other node";

/// A reply to an option, split into its fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) option: u32,
    pub(crate) kind: u32,
    pub(crate) data: Vec<u8>,
}

impl Reply {
    pub(crate) fn ack(option: u32) -> Reply {
        Reply { option, kind: REP_ACK, data: Vec::new() }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.data).expect("the text of a reply is UTF-8")
    }
}

pub(crate) fn served() -> Availability {
    Availability::Served(Export { description: "disk".to_owned(), ..Export::new("r0", 1 << 20) })
}

pub(crate) fn refused() -> Availability {
    Availability::Refused { name: "r0".to_owned(), message: REFUSAL_TEXT.to_owned() }
}

/// The client's flags and then its options.
pub(crate) fn session(flags: u32, options: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = flags.to_be_bytes().to_vec();
    options.iter().for_each(|option| bytes.extend_from_slice(option));
    bytes
}

pub(crate) fn option_header(option: u32, data_bytes: u32) -> Vec<u8> {
    let mut bytes = OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend_from_slice(&option.to_be_bytes());
    bytes.extend_from_slice(&data_bytes.to_be_bytes());
    bytes
}

pub(crate) fn option(option: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = option_header(option, data.len() as u32);
    bytes.extend_from_slice(data);
    bytes
}

/// The data of `LIST_META_CONTEXT` and `SET_META_CONTEXT`.
pub(crate) fn context_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&(queries.len() as u32).to_be_bytes());
    for query in queries {
        data.extend_from_slice(&(query.len() as u32).to_be_bytes());
        data.extend_from_slice(query.as_bytes());
    }
    data
}

/// The data of INFO and GO.
pub(crate) fn info_data(name: &str, requests: &[u16]) -> Vec<u8> {
    let mut data = (name.len() as u32).to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&(requests.len() as u16).to_be_bytes());
    requests.iter().for_each(|request| data.extend_from_slice(&request.to_be_bytes()));
    data
}

/// Feeds everything at once to a new handshake.
pub(crate) fn run(input: &[u8], availability: &Availability) -> (Progress, Vec<u8>) {
    let mut out = Vec::new();
    let progress = Handshake::new().receive(input, availability, &mut out);
    (progress, out)
}

/// The replies to one option of a client that set the usual flags.
pub(crate) fn replies_to(
    option_number: u32,
    data: &[u8],
    availability: &Availability,
) -> Vec<Reply> {
    replies(&run(&session(FLAGS, &[option(option_number, data)]), availability).1)
}

/// Splits what the server sent; panics when it is not a row of whole replies.
pub(crate) fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    const WHOLE: &str = "the server sends whole replies";
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(take_u64(&mut bytes), Some(OPTION_REPLY_MAGIC));
        let option = take_u32(&mut bytes).expect(WHOLE);
        let kind = take_u32(&mut bytes).expect(WHOLE);
        let data_bytes = take_u32(&mut bytes).expect(WHOLE) as usize;
        let data = take_bytes(&mut bytes, data_bytes).expect(WHOLE).to_vec();
        replies.push(Reply { option, kind, data });
    }
    replies
}
