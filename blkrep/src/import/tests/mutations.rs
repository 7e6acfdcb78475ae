//! Files that are torn at random never end the program, and every complaint names file and line.

use super::*;
use testbed::seeded::Seeded;

const ROUNDS: usize = 1500;

/// Files with everything that the grammar knows.
fn originals() -> Vec<String> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/import/tests/seeds");
    let mut texts: Vec<String> = [
        "postgres.conf",
        "fragments.conf",
        "fragments-mended.conf",
        "verify-snippet.conf",
        "drbd1/drbd.d/global_common.conf",
        "drbd1/drbd.d/r0.res",
    ]
    .iter()
    .map(|name| fs::read_to_string(seeds.join(name)).expect("the seed is there"))
    .collect();
    texts.push(
        "skip { a { } }\nrequire-drbd-module-version-ge 9.0.16;\n\
         common { handlers { fence-peer \"/usr/lib/drbd/crm-fence-peer.sh --timeout 3\"; } }\n\
         resource r1 {\n volume 0 { device minor 1; disk /dev/sdb; meta-disk /dev/sdc[0]; }\n\
         volume 1 { device minor 2; disk /dev/sdd; flexible-meta-disk /dev/sde; }\n\
         on alpha spare { node-id 0; address ipv6 [fd00::1%2]:7; options { quorum off; } }\n\
         floating 10.1.1.2:8 { proxy on x { inside 1.2.3.4:5; } }\n\
         connection { path { host alpha port 7; host b address 1.2.3.4:9; } net { tls no; } }\n\
         connection-mesh { hosts alpha b; }\n stacked-on-top-of r0 { }\n syncer { rate 1G; }\n}\n"
            .to_owned(),
    );
    texts
}

/// Small pieces that are put in.
const PIECES: [&str; 24] = [
    "{",
    "}",
    ";",
    "\"",
    "\\",
    "[",
    "]",
    ":",
    "#",
    "\n",
    " ",
    "\u{201c}",
    "\u{a0}",
    "\u{fffd}",
    "-",
    "0",
    "99999999999999999999",
    "no-",
    "on",
    "disk",
    "include \"*\";",
    "volume",
    "\u{0}",
    "s",
];

fn mutated(random: &mut Seeded, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let at = random.below(chars.len() as u64 + 1) as usize;
        let length = (random.below(12) as usize).min(chars.len() - at);
        match random.below(5) {
            0 => drop(chars.drain(at..at + length)),
            1 => {
                let piece = PIECES[random.below(PIECES.len() as u64) as usize];
                chars.splice(at..at, piece.chars());
            }
            2 => {
                let copy: Vec<char> = chars[at..at + length].to_vec();
                let to = random.below(chars.len() as u64 + 1) as usize;
                chars.splice(to..to, copy);
            }
            3 => chars.truncate(at),
            _ => {
                let piece = PIECES[random.below(PIECES.len() as u64) as usize];
                chars.splice(at..at + length, piece.chars());
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
fn torn_files_are_told_with_file_and_line_and_never_end_the_program() {
    let mut random = Seeded::announced();
    let originals = originals();
    // Something for an include to find.
    let dir = ScratchDir::new("import-torn");
    let file = dir.path().join("drbd.conf");
    let (mut converted, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let original = random.below(originals.len() as u64) as usize;
        let text = mutated(&mut random, &originals[original]);
        fs::write(&file, &text).unwrap();
        let nodes = vec!["alpha".to_owned(), "b".to_owned()];
        let nodes = if text.contains("alpha") { nodes } else { Vec::new() };
        match import(&file, &Choice { nodes, ..choice() }) {
            Ok(imported) => {
                converted += 1;
                for one in &imported.files {
                    let name = format!("{}.toml", one.name);
                    let parsed = crate::config::parse(Path::new(&name), &one.toml);
                    assert!(parsed.is_ok(), "{parsed:?} of {text}");
                }
                check(&imported.notes, &file, &text);
            }
            Err(ImportError::Refused { notes }) => {
                refused += 1;
                assert!(notes::any_error(&notes), "{text}");
                check(&notes, &file, &text);
            }
            Err(_) => {}
        }
    }
    assert!(converted > ROUNDS / 100 && refused > ROUNDS / 5, "{converted} and {refused}");
}

fn check(notes: &[Note], file: &Path, text: &str) {
    let lines = text.split('\n').count();
    for note in notes {
        let shown = note.to_string();
        assert_eq!(*note.place.file, *file.to_string_lossy(), "{shown}");
        assert!((1..=lines).contains(&note.place.line), "{shown} of {lines} lines: {text}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}
