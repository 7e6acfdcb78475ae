//! nbdinfo (libnbd): what it shows of the export is true.

use crate::device::Device;
use crate::tools::run_good;
use crate::wire::RawClient;

/// proto.md "Size constraints": a server should take payloads of at least this.
const PAYLOAD_BYTES_FLOOR: u64 = 1 << 20;

#[test]
fn nbdinfo_shows_the_size_the_flags_and_the_block_sizes_that_are_served() {
    let Some(device) = Device::open(&["nbdinfo"]) else { return };
    let told_bytes = RawClient::connect(device.socket()).unwrap().size_bytes;
    let shown = run_good("nbdinfo", ["--json", device.uri()]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("nbdinfo prints JSON");
    assert_eq!(shown["protocol"], "newstyle-fixed");
    assert_eq!(shown["TLS"], false);
    assert_eq!(shown["structured"], true);
    let export = &shown["exports"][0];
    assert_eq!(export["export-size"], told_bytes);
    for flag in ["can_flush", "can_fua", "can_zero", "can_cache", "can_df", "can_multi_conn"] {
        assert_eq!(export[flag], true, "{flag} in {export}");
    }
    assert_eq!(export["is_read_only"], false);
    let minimum = export["block_size_minimum"].as_u64().expect("a minimum is told");
    let preferred = export["block_size_preferred"].as_u64().expect("a preferred size is told");
    let maximum = export["block_size_maximum"].as_u64().expect("a maximum is told");
    assert!(minimum == 512 || minimum == 4096, "{minimum}");
    assert!(preferred >= minimum && preferred.is_power_of_two(), "{preferred}");
    assert!(maximum >= PAYLOAD_BYTES_FLOOR && maximum.is_multiple_of(minimum), "{maximum}");
    assert!(told_bytes.is_multiple_of(minimum), "{told_bytes}");
    device.close();
}

#[test]
fn nbdinfo_lists_the_one_export_by_its_name_and_every_name_it_lists_can_be_opened() {
    let Some(device) = Device::open(&["nbdinfo"]) else { return };
    let listed = run_good("nbdinfo", ["--list", "--json", device.uri()]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("nbdinfo prints JSON");
    let exports = listed["exports"].as_array().expect("a list of exports");
    let names: Vec<_> =
        exports.iter().filter_map(|export| export["export-name"].as_str()).collect();
    assert_eq!(names, [device.name()]);
    let by_name = format!("nbd+unix:///{}?socket={}", names[0], device.socket().display());
    let size = run_good("nbdinfo", ["--size", &by_name]);
    let told_bytes = RawClient::connect(device.socket()).unwrap().size_bytes;
    assert_eq!(size.trim().parse(), Ok(told_bytes));
    device.close();
}
