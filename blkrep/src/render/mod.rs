//! How a status looks: for people, for scripts, and as the one-word answers of DRBD 8.4. How the
//! metadata of a disk look.

pub mod advice;
pub mod amounts;
pub mod generation_identifiers;
pub mod metadata_dump;
pub mod progress;
pub mod status_json;
pub mod status_text;
pub mod words;
