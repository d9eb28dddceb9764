use proptest::prelude::*;

use super::*;

const V4: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x67, 0x1f, 0x91];

fn version_2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [v2::SIGNATURE, &[command, kind], &len, rest].concat()
}

/// What a whole header says.
fn says(bytes: impl AsRef<[u8]>) -> Proxied {
    let bytes = bytes.as_ref();
    match parse(bytes) {
        Ok(Parsed::Complete(header)) => {
            assert_eq!(header.len, bytes.len());
            header.says
        }
        other => panic!("{}: {other:?}", bytes.escape_ascii()),
    }
}

fn client(address: &str) -> Proxied {
    Proxied::Client(address.parse().unwrap())
}

#[test]
fn each_kind_of_header_says_for_whom_the_proxy_calls() {
    let v6 = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]; 2].concat();
    let v6 = [&v6[..], &[0xff, 0xff, 0, 0]].concat();
    assert_eq!(says("PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n"), client("192.0.2.7:4711"));
    assert_eq!(says("PROXY TCP6 2001:db8::7 ::1 65535 0\r\n"), client("[2001:db8::7]:65535"));
    assert_eq!(says("PROXY UNKNOWN\r\n"), Proxied::Unknown);
    assert_eq!(says("PROXY UNKNOWN what ever\r\n"), Proxied::Unknown);
    assert_eq!(says(version_2(0x21, 0x11, V4)), client("192.0.2.7:4711"));
    assert_eq!(says(version_2(0x21, 0x21, &v6)), client("[2001:db8::7]:65535"));
    assert_eq!(says(version_2(0x21, 0x31, &[b'a'; 216])), Proxied::Unix);
    assert_eq!(says(version_2(0x21, 0x00, b"")), Proxied::Unknown);
    assert_eq!(says(version_2(0x20, 0x00, b"")), Proxied::Local);
    for (kind, rest) in [(0x11, V4), (0x11, b""), (0x12, b"\x04"), (0xff, V4)] {
        assert_eq!(says(version_2(0x20, kind, rest)), Proxied::Local);
    }
    let additions = b"\x04\0\0\x02\0\x03abc\xee\0\x01!";
    assert_eq!(says(version_2(0x21, 0x11, &[V4, additions].concat())), client("192.0.2.7:4711"));
}

#[test]
fn a_line_has_at_most_107_bytes_and_a_binary_header_4096() {
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
    assert_eq!(says(line(107)), Proxied::Unknown);
    assert_eq!(parse(line(108).as_bytes()), Err(HeaderError::TooLong));
    let addition =
        |len: usize| [V4, b"\xee", &u16::try_from(len).unwrap().to_be_bytes(), &vec![0; len]].concat();
    let room = HEADER_MAX - 16 - V4.len() - 3;
    assert_eq!(says(version_2(0x21, 0x11, &addition(room))), client("192.0.2.7:4711"));
    // Its length is enough to know.
    let long = version_2(0x21, 0x11, &addition(room + 1));
    assert_eq!(parse(&long[..16]), Err(HeaderError::TooLong));
}

#[test]
fn a_checksum_is_held_against_what_came() {
    let mut header = version_2(0x21, 0x11, &[V4, b"\x04\0\x01 \x03\0\x04\0\0\0\0\x04\0\0"].concat());
    assert_eq!(parse(&header), Err(HeaderError::WrongChecksum));
    // As another program computes it.
    header[16 + V4.len() + 7..][..4].copy_from_slice(&CHECKSUM.to_be_bytes());
    assert_eq!(says(&header), client("192.0.2.7:4711"));
    header[20] ^= 1;
    assert_eq!(parse(&header), Err(HeaderError::WrongChecksum));
}

const CHECKSUM: u32 = 0xae5b_8b2c;

#[test]
fn what_breaks_the_rules_is_refused_and_what_is_no_header_is_so_at_once() {
    for line in [
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081 1\r\n",
        "PROXY TCP4  192.0.2.7 192.0.2.1 4711 8081\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 4711 +8081\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 04711 8081\r\n",
        "PROXY TCP4 192.0.2.7 192.0.2.1 65536 8081\r\n",
        "PROXY TCP4 192.0.2.007 192.0.2.1 4711 8081\r\n",
        "PROXY TCP4 2001:db8::7 192.0.2.1 4711 8081\r\n",
        "PROXY TCP6 192.0.2.7 ::1 4711 8081\r\n",
        "PROXY UDP4 192.0.2.7 192.0.2.1 4711 8081\r\n",
        "PROXY \u{e9}\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Malformed), "{line:?}");
    }
    let with = |additions: &[u8]| version_2(0x21, 0x11, &[V4, additions].concat());
    for header in [
        version_2(0x22, 0x11, V4),
        version_2(0x21, 0x13, V4),
        version_2(0x21, 0x41, V4),
        version_2(0x21, 0x11, &V4[1..]),
        version_2(0x21, 0x21, V4),
        with(b"\x04"),
        with(b"\x04\0\x01"),
        with(b"\x03\0\x03abc"),
        with(b"\x03\0\x04abcd\x03\0\x04abcd"),
    ] {
        assert_eq!(parse(&header), Err(HeaderError::Malformed), "{}", header.escape_ascii());
    }
    for (byte, kind) in [(0x11, 0x11), (0x31, 0x11), (0x21, 0x12), (0x21, 0x32)] {
        assert_eq!(parse(&version_2(byte, kind, V4)[..14]), Err(HeaderError::Unsupported));
    }
    for none in [&b"x"[..], b"PROXX", b"\r\n\r\n\0\r\nQUIX", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"] {
        assert_eq!(parse(none), Err(HeaderError::Missing), "{}", none.escape_ascii());
    }
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let line = "PROXY (TCP4|TCP6|UNKNOWN)[ 0-9a-f.:]{0,90}\r\n".prop_map(String::into_bytes);
    let good = Just(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 8081\r\n".to_vec());
    let bytes = |rest: Vec<u8>| (0x1f_u8..0x23, any::<u8>(), Just(rest));
    let binary = noise.clone().prop_flat_map(bytes).prop_map(|(command, kind, rest)| {
        version_2(command, [0x00, 0x11, 0x21, 0x31, kind][usize::from(kind % 5)], &rest)
    });
    let additions = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..6);
    let whole = additions.prop_map(|additions| {
        let mut rest = V4.to_vec();
        for (kind, value) in additions {
            rest.extend([kind, 0, u8::try_from(value.len()).unwrap()]);
            rest.extend(value);
        }
        version_2(0x21, 0x11, &rest)
    });
    prop_oneof![noise, line, good, binary, whole]
}

proptest! {
    /// However a stream is cut, what is said of its beginning is never taken back when more comes.
    #[test]
    fn more_bytes_never_contradict_what_was_said(header in any_header(), rest in prop::collection::vec(any::<u8>(), 0..50)) {
        let stream = [header, rest].concat();
        let all = parse(&stream);
        for len in 0..stream.len() {
            match parse(&stream[..len]) {
                Ok(Parsed::Incomplete) => {}
                said => prop_assert_eq!(said, all),
            }
        }
        if let Ok(Parsed::Complete(header)) = all {
            prop_assert!((1..=HEADER_MAX.min(stream.len())).contains(&header.len));
        }
    }
}
