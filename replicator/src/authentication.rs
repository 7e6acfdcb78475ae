//! Proof that the peer knows the shared secret (DESIGN 7): HMAC-SHA-256 over both greetings and who
//! speaks.

use crate::ids::NodeIndex;
use crate::message::{Hello, Message, PROOF_BYTES};
use crate::wire;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// What a node that knows `secret` answers in this handshake. Both nonces, both names and the
/// speaker are covered, so a proof can neither be replayed nor sent back to where it came from.
pub(crate) fn proof(
    secret: &[u8],
    speaker: NodeIndex,
    speakers_hello: &Hello,
    listeners_hello: &Hello,
) -> [u8; PROOF_BYTES] {
    let mac = keyed(secret, speaker, speakers_hello, listeners_hello);
    mac.finalize().into_bytes().into()
}

/// True when `claimed` is the proof of `speaker`; compared in constant time.
pub(crate) fn is_proof(
    claimed: &[u8; PROOF_BYTES],
    secret: &[u8],
    speaker: NodeIndex,
    speakers_hello: &Hello,
    listeners_hello: &Hello,
) -> bool {
    keyed(secret, speaker, speakers_hello, listeners_hello).verify_slice(claimed).is_ok()
}

fn keyed(secret: &[u8], speaker: NodeIndex, first: &Hello, second: &Hello) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret).expect("invariant: HMAC takes keys of any length");
    mac.update(b"blkrep peer proof 1");
    mac.update(&[speaker.number()]);
    for hello in [first, second] {
        let mut bytes = Vec::new();
        wire::encode(&Message::Hello(hello.clone()), None, &mut bytes);
        mac.update(&Sha256::digest(&bytes));
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{NONCE_BYTES, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};

    fn hello(node: NodeIndex, nonce: u8) -> Hello {
        Hello {
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            node,
            node_name: "alpha".into(),
            resource: "r0".into(),
            nonce: [nonce; NONCE_BYTES],
            secret: true,
        }
    }

    #[test]
    fn a_proof_holds_for_its_secret_its_speaker_and_its_nonces_only() {
        let (mine, yours) = (hello(NodeIndex::First, 1), hello(NodeIndex::Second, 2));
        let proof = proof(b"secret", NodeIndex::First, &mine, &yours);
        assert!(is_proof(&proof, b"secret", NodeIndex::First, &mine, &yours));
        assert!(!is_proof(&proof, b"Secret", NodeIndex::First, &mine, &yours));
        assert!(!is_proof(&proof, b"secret", NodeIndex::Second, &mine, &yours));
        assert!(!is_proof(&proof, b"secret", NodeIndex::First, &yours, &mine));
        let fresh = hello(NodeIndex::Second, 3);
        assert!(!is_proof(&proof, b"secret", NodeIndex::First, &mine, &fresh), "no replay");
    }
}
