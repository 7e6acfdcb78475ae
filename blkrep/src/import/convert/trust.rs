//! How the nodes know each other: the shared secret, or that there is none.

use super::super::draft::quote;
use super::super::notes::{Note, Place, Severity, add};
use super::super::options::{Section, Table};
use super::Conversion;
use crate::config::SECRET_BYTES_MIN;
use std::path::Path;

impl Conversion<'_> {
    /// `directory` is where the file of the secret will be.
    pub(super) fn trust(&mut self, directory: &Path, is_exposed: bool, resource: &Place) {
        let algorithm = self.get(Section::Net, "cram-hmac-alg");
        let secret = self.get(Section::Net, "shared-secret");
        if let Some(setting) = &algorithm {
            let text = format!(
                "'cram-hmac-alg {}' has no meaning here: the nodes prove the shared secret by \
                 HMAC-SHA-256",
                setting.given.shown()
            );
            self.note(setting, text);
        }
        let Some(setting) = secret else {
            self.without_secret(is_exposed, resource);
            return;
        };
        let file = directory.join(format!("{}.secret", self.draft.name));
        let shown = file.display();
        let value = quote(&file.to_string_lossy());
        self.draft.set(Table::Net, "shared-secret-file", &value, &setting.place);
        let secret = setting.given.shown();
        if secret.len() < SECRET_BYTES_MIN {
            let text = format!(
                "'shared-secret' has {} bytes, fewer than the {SECRET_BYTES_MIN} that blkrep asks \
                 for, and is not carried over; put a random line into {shown} on both nodes: \
                 (umask 077; head -c 24 /dev/urandom | base64 > {shown}), and copy it",
                secret.len()
            );
            self.say(Severity::Warning, &setting, text);
            return;
        }
        if algorithm.is_none() {
            let text = "'shared-secret' without 'cram-hmac-alg', which DRBD does not use, is used \
                        by blkrep";
            self.note(&setting, text.to_owned());
        }
        self.draft.secret = Some((secret, setting.place));
    }

    /// DRBD takes whoever has the peer's address for the peer; blkrep wants to be told so.
    fn without_secret(&mut self, is_exposed: bool, resource: &Place) {
        if !is_exposed {
            return;
        }
        self.draft.set(Table::Net, "allow-insecure", "true", resource);
        let text = "no 'shared-secret', hence allow-insecure = true, as DRBD does: whoever reaches \
                    the port can overwrite the data. On anything but a private link replace it by \
                    shared-secret-file = \"FILE\" in [net], with a random line in FILE on both \
                    nodes";
        add(self.notes, Note::warning(resource, text));
    }
}
