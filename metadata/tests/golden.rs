//! The bytes of one page of each kind, computed by a second implementation of docs/format.md.

use metadata::activity_log::{SlotUpdate, Transaction};
use metadata::generations::Generations;
use metadata::layout::LogGeometry;
use metadata::page::PageIdentity;
use metadata::superblock::{Flags, PeerMinimum, ResourceName, Sequences, Session, Superblock};
use metadata::{Bitmap, BlockRange};

const OWNER: PageIdentity =
    PageIdentity { resource_tag: 1, instance_id: 2, node_id: 0, attach_number: 3 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_superblock_has_the_documented_bytes() {
    let superblock = Superblock {
        sequence: 0x0102_0304_0506_0708,
        resource_name: ResourceName::new("postgres").expect("a legal name"),
        resource_tag: 0x1112_1314_1516_1718,
        instance_id: 0x2122_2324_2526_2728,
        node_id: 1,
        attach_number: 0x3132_3334_3536_3738,
        promotion_number: 0x4142_4344_4546_4748,
        boot_id: *b"0123456789abcdef",
        device_bytes: 0x5152_5354_5556_5758,
        proposed_bytes: 0xb1b2_b3b4_b5b6_b7b8,
        capacity_bytes: 0x6162_6364_6566_6768,
        logical_block_bytes: 4096,
        log: LogGeometry::new(1237).expect("a legal number of slots"),
        generations: Generations { current: 0x71, bitmap: 0x72, history: [0x73, 0x74] },
        flags: Flags { consistent: true, lost_power: true, ..Flags::default() },
        bitmap_digest: 0x8182_8384,
        session: Session { id: 0x91, number: 0x92 },
        peer_minimum: PeerMinimum {
            instance_id: 0xa1,
            superblock_sequence: 0xa2,
            log_sequence: 0xa3,
        },
        met: Sequences { superblock: 0xb1, log: 0xb2 },
    };
    let page = superblock.encode(1);
    let expected = concat!(
        "626c6b726570534201000000322c485b01000000000000001817161514131211",
        "2827262524232221383736353433323101000000000000000000000000000000",
        "0807060504030201484746454443424130313233343536373839616263646566",
        "5857565554535251686766656463626100100000d50408007100000000000000",
        "7200000000000000730000000000000074000000000000008100000084838281",
        "91000000000000009200000000000000a100000000000000a200000000000000",
        "a30000000000000008706f737467726573000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000b100000000000000b200000000000000",
        "b8b7b6b5b4b3b2b1",
    );
    assert_eq!(hex(&page[..288]), expected);
    assert!(page[288..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_transaction_has_the_documented_bytes() {
    let log = LogGeometry::new(7).expect("a legal number of slots");
    let mut contents = vec![None; 7];
    contents[0] = Some(9);
    contents[2] = Some(0x0102_0304);
    let updates = vec![
        SlotUpdate { slot: 2, extent: Some(0x0102_0304) },
        SlotUpdate { slot: 5, extent: None },
    ];
    let page = Transaction::new(10, updates, &contents, log).encode(log, &OWNER);
    let head = concat!(
        "626c6b726570414c01000000c4cecf1d02000000000000000100000000000000",
        "0200000000000000030000000000000000000000000000000000000000000000",
        "0a0000000000000002000700000007000200040302010500ffffffff00000000",
    );
    assert_eq!(hex(&page[..96]), head);
    let context = "09000000ffffffff04030201ffffffffffffffffffffffffffffffff";
    assert_eq!(hex(&page[464..492]), context);
    assert!(page[96..464].iter().chain(&page[492..]).all(|&byte| byte == 0));
}

#[test]
fn a_bitmap_page_and_the_digest_have_the_documented_values() {
    let mut bitmap = Bitmap::new(32256 + 100);
    bitmap.set(BlockRange { first: 32256, count: 1 });
    bitmap.set(BlockRange { first: 32256 + 65, count: 1 });
    let page = bitmap.encode_page(1, &OWNER);
    let head = concat!(
        "626c6b726570424d01000000f048045001000000000000000100000000000000",
        "0200000000000000030000000000000000000000000000000000000000000000",
        "01000000000000000200000000000000",
    );
    assert_eq!(hex(&page[..80]), head);
    assert!(page[80..].iter().all(|&byte| byte == 0));
    assert_eq!(bitmap.digest(), 0xb00a_a6a3);
}
