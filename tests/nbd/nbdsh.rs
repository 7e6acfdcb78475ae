//! nbdsh (libnbd in Python) with its strict mode off: each bad request gets its errno and the
//! connection lives on.

use crate::device::Device;
use crate::tools::{run, run_good};
use testbed::skips::skip;

/// Sends each bad request of the table in docs/nbd.md "Errors" that libnbd can be brought to send.
const BAD_REQUESTS: &str = r#"
def errno_of(what, call):
    try:
        call()
    except nbd.Error as error:
        return error.errno
    return "success"

h.set_strict_mode(0)
h.connect_uri(uri)
size = h.get_size()
least = h.get_block_size(nbd.SIZE_MINIMUM)
most = h.get_block_size(nbd.SIZE_MAXIMUM)
block = bytearray(least)
cases = [
    ("read beyond the end", "EINVAL", lambda: h.pread(least, size)),
    ("read across the end", "EINVAL", lambda: h.pread(2 * least, size - least)),
    ("write beyond the end", "ENOSPC", lambda: h.pwrite(block, size)),
    ("write at the highest offset", "ENOSPC", lambda: h.pwrite(block, 2**63 - least)),
    ("zero beyond the end", "ENOSPC", lambda: h.zero(least, size)),
    ("misaligned read", "EINVAL", lambda: h.pread(least, 1)),
    ("misaligned length", "EINVAL", lambda: h.pread(least - 1, 0)),
    ("misaligned write", "EINVAL", lambda: h.pwrite(bytearray(least + 1), 0)),
    ("write of nothing", "EINVAL", lambda: h.pwrite(b"", 0)),
    ("read of nothing", "EINVAL", lambda: h.pread(0, 0)),
    ("zero of nothing", "EINVAL", lambda: h.zero(0, 0)),
    ("block status", "EINVAL", lambda: h.block_status(least, 0, lambda *a: 0)),
    ("too long a read", "EOVERFLOW", lambda: h.pread(most + least, 0)),
    ("too long a write", "EINVAL", lambda: h.pwrite(bytearray(most + least), 0)),
    ("unknown flag", "EINVAL", lambda: h.pread(least, 0, flags=1 << 9)),
    ("fast zero that was not offered", None if h.can_fast_zero() else "EINVAL",
     lambda: h.zero(least, 0, flags=nbd.CMD_FLAG_FAST_ZERO)),
]
for number, (what, expected, call) in enumerate(cases):
    seen = errno_of(what, call)
    if expected is not None and seen != expected:
        print("WRONG %s: expected %s, seen %s" % (what, expected, seen))
    mark = bytes([number + 1]) * least
    h.pwrite(mark, 0)
    if h.pread(least, 0) != mark:
        print("WRONG %s: the next write was not read back" % what)
h.flush()
print("cases %d" % len(cases))
h.shutdown()
"#;

/// Asks for TLS in both ways that libnbd has.
const ASK_FOR_TLS: &str = r#"
if not h.supports_tls():
    print("no TLS in this libnbd")
else:
    h.set_tls(nbd.TLS_ALLOW)
    h.connect_uri(uri)
    print("allowed: TLS %s, size %s" % (h.get_tls_negotiated(), h.get_size() > 0))
    h.shutdown()
    h = nbd.NBD()
    h.set_tls(nbd.TLS_REQUIRE)
    try:
        h.connect_uri(uri)
        print("required: connected")
    except nbd.Error as error:
        print("required: refused")
"#;

#[test]
fn a_client_that_may_use_tls_goes_on_without_and_one_that_must_is_refused() {
    let Some(device) = Device::open(&["nbdsh"]) else { return };
    if run("nbdsh", ["-c", "import nbd"]).code != 0 {
        skip("nbdsh does not run; install python3-libnbd");
        return;
    }
    let uri = format!("uri = '{}'", device.uri());
    let printed = run_good("nbdsh", ["-c", &uri, "-c", ASK_FOR_TLS]);
    if printed.starts_with("no TLS") {
        skip("this libnbd was built without TLS");
    } else {
        assert_eq!(printed.trim(), "allowed: TLS False, size True\nrequired: refused");
    }
    device.close();
}

#[test]
fn each_bad_request_gets_its_errno_and_the_connection_lives_on() {
    let Some(device) = Device::open(&["nbdsh"]) else { return };
    if run("nbdsh", ["-c", "import nbd"]).code != 0 {
        skip("nbdsh does not run; install python3-libnbd");
        return;
    }
    let uri = format!("uri = '{}'", device.uri());
    let printed = run_good("nbdsh", ["-c", &uri, "-c", BAD_REQUESTS]);
    assert_eq!(printed.trim(), "cases 16");
    device.close();
}
